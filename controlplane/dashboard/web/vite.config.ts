import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// SHOPLAKE is where `npx vite` finds a server while the page is being worked on.
const server = process.env.SHOPLAKE ?? "http://127.0.0.1:8501";

export default defineConfig({
  plugins: [svelte()],
  build: {
    // Committed, and embedded into the program by Go.
    outDir: process.env.OUT ?? "../dist",
    emptyOutDir: true,
    target: "es2024",
    modulePreload: { polyfill: false },
    // Inline images would need a weaker Content-Security-Policy.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 800,
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        // What the first view does not need comes as one file: together it packs better.
        codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: "pages", test: /src\/(pages\/(Quality|Run|Pipeline|Tables)\.|quality\/|run\/|table\/|parts\/([Gg]raph|layout)|lib\/states)/ }] },
      },
    },
  },
  server: { proxy: { "/shoplake.v1": { target: server, changeOrigin: true, headers: { origin: server } } } },
});

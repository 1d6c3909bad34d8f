// What a person chose for this browser. It lasts; what is looked at stands in the URL.

export type Theme = "system" | "light" | "dark";

interface Stored {
  theme: Theme;
  /** Seconds between automatic refreshes; 0 for none. */
  refresh: number;
  /** Days of the moving average; 0 for none. */
  average: number;
}

const key = "shoplake.settings";
const defaults: Stored = { theme: "system", refresh: 60, average: 7 };

function read(): Stored {
  try {
    return { ...defaults, ...JSON.parse(localStorage.getItem(key) ?? "{}") };
  } catch {
    return { ...defaults };
  }
}

export const settings = $state<Stored>(read());

export function keep() {
  try {
    localStorage.setItem(key, JSON.stringify(settings));
  } catch {
    // Without storage the choice holds until the page is closed.
  }
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
let systemDark = $state(prefersDark.matches);
prefersDark.addEventListener("change", (e) => (systemDark = e.matches));

export function dark(): boolean {
  return settings.theme === "dark" || (settings.theme === "system" && systemDark);
}

// What was asked of the server: its answer, and whether it is on its way, old, or failed.
import { aborted, reason } from "./api";
import { connection } from "./connection.svelte";

class Refresh {
  /** Grows when everything is to be asked again. */
  count = $state(0);
  /** When the latest answer came. */
  at = $state<Date>();
  now() {
    this.count++;
  }
}

export const refresh = new Refresh();

export class Loaded<T> {
  data = $state.raw<T>();
  error = $state("");
  loading = $state(true);
  /** Data are there, but the latest try to renew them failed. */
  get stale(): boolean {
    return this.data !== undefined && this.error !== "";
  }
}

/**
 * Asks when the component begins, when what `ask` reads changes, and at each refresh. The answer before stays until the
 * next is there. `ask` may return nothing where there is nothing to ask yet. Call it while a component is set up.
 */
export function load<T>(ask: (signal: AbortSignal) => Promise<T> | undefined): Loaded<T> {
  const loaded = new Loaded<T>();
  $effect(() => {
    void refresh.count;
    void connection.returns;
    const abort = new AbortController();
    const answer = ask(abort.signal);
    if (!answer) return;
    loaded.loading = true;
    answer.then(
      (data) => {
        if (abort.signal.aborted) return;
        loaded.data = data;
        loaded.error = "";
        loaded.loading = false;
        refresh.at = new Date();
      },
      (error) => {
        if (abort.signal.aborted || aborted(error)) return;
        loaded.error = reason(error);
        loaded.loading = false;
      },
    );
    return () => abort.abort();
  });
  return loaded;
}

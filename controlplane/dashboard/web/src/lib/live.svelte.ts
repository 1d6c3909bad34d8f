// The runs that are going, watched by stream: when one ends, everything is asked again. Only a page that is seen watches,
// since a browser opens few connections to a server.
import { type Run, RunState } from "../gen/shoplake/v1/run_pb";
import { aborted, runs } from "./api";
import { connection } from "./connection.svelte";
import { refresh } from "./load.svelte";

const ended = new Set([RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]);

export function over(run: Run): boolean {
  return ended.has(run.state);
}

class Live {
  open = $state.raw<Run[]>([]);
  #watched = new Map<string, AbortController>();

  /** Looks for open runs at each refresh, as long as the page is there. */
  begin() {
    void refresh.count;
    void connection.returns;
    const seen = () => {
      if (document.hidden) this.#stop();
      else this.look();
    };
    if (!document.hidden) this.look();
    document.addEventListener("visibilitychange", seen);
    return () => document.removeEventListener("visibilitychange", seen);
  }

  /** Finds the runs that are going, and watches one. */
  async look() {
    try {
      const { runs: found } = await runs.listRuns({ pageSize: 20 });
      const going = found.filter((r) => !over(r));
      this.open = going;
      // One stream is enough to see that something goes on; the page of a run has its own.
      for (const run of going.slice(0, 1)) this.watch(run);
    } catch {
      // The transport knows whether the server is lost, and refreshes when it is back.
    }
  }

  watch(run: Run) {
    if (this.#watched.has(run.name)) return;
    if (!this.open.some((r) => r.name === run.name)) this.open = [run, ...this.open];
    const abort = new AbortController();
    this.#watched.set(run.name, abort);
    this.#follow(run.name, abort).finally(() => this.#watched.delete(run.name));
  }

  async #follow(name: string, abort: AbortController) {
    try {
      for await (const change of runs.watchRun({ name }, { signal: abort.signal })) {
        const run = change.run;
        if (!run) continue;
        this.open = over(run) ? this.open.filter((r) => r.name !== name) : this.open.map((r) => (r.name === name ? run : r));
        if (over(run)) {
          refresh.now();
          return;
        }
      }
    } catch (error) {
      if (!aborted(error)) this.open = this.open.filter((r) => r.name !== name);
    }
  }

  #stop() {
    for (const abort of this.#watched.values()) abort.abort();
    this.#watched.clear();
  }
}

export const live = new Live();

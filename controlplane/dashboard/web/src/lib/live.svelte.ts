// What becomes of runs, whoever started them, told by one stream: when a run ends, everything is asked again.
import { type Run, RunState } from "../gen/shoplake/v1/run_pb";
import { runs } from "./api";
import { connection } from "./connection.svelte";
import { follow } from "./follow";
import { refresh } from "./load.svelte";

const ended = new Set([RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED]);

export function over(run: Run): boolean {
  return ended.has(run.state);
}

class Live {
  /** The runs that are going, the newest first. */
  open = $state.raw<Run[]>([]);
  /** Grows when a run begins, comes to another state, or ends. */
  moves = $state(0);
  /** Grows whenever a run gets on. */
  steps = $state(0);

  /** Listens while the page is there; begins anew when the server is back. */
  begin() {
    void connection.returns;
    return follow(
      (signal) => runs.watchRuns({}, { signal }),
      ({ runs: told }, { first, behind }) => {
        if (!first) return told.forEach((run) => this.#take(run));
        this.open = told;
        if (behind) refresh.now();
      },
    );
  }

  #take(run: Run) {
    const before = this.open.find((r) => r.name === run.name);
    if (over(run)) {
      this.open = this.open.filter((r) => r !== before);
      refresh.now();
    } else this.open = before ? this.open.map((r) => (r === before ? run : r)) : [run, ...this.open];
    if (before?.state !== run.state) this.moves++;
    this.steps++;
  }
}

export const live = new Live();

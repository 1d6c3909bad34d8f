// Streams that last as long as the page is there. Only a page that is seen has them, since a browser opens few connections to a
// server.
import { connection } from "./connection.svelte";

const firstWait = 500;
const longestWait = 15_000;
/** After how long without a word a stream counts as lost: the server says something every 15 s. */
const silence = 40_000;

export interface Heard {
  /** The stream's first message, which says how things are. */
  first: boolean;
  /** Nobody listened for a while: more may have happened than the message tells. */
  behind: boolean;
}

/** Opens a stream, and another one whenever it ends or the page is seen again, until the function that it returns is called. */
export function follow<T>(open: (signal: AbortSignal) => AsyncIterable<T>, hear: (message: T, how: Heard) => void): () => void {
  let abort: AbortController | undefined;
  const look = (behind: boolean) => {
    if (document.hidden) {
      abort?.abort();
      abort = undefined;
    } else if (!abort) {
      abort = new AbortController();
      void listen(open, hear, abort.signal, behind);
    }
  };
  const seen = () => look(true);
  look(false);
  document.addEventListener("visibilitychange", seen);
  return () => {
    document.removeEventListener("visibilitychange", seen);
    abort?.abort();
  };
}

async function listen<T>(open: (signal: AbortSignal) => AsyncIterable<T>, hear: (message: T, how: Heard) => void, signal: AbortSignal, behind: boolean) {
  for (let wait = firstWait; !signal.aborted; wait = Math.min(longestWait, wait * 2)) {
    const one = new AbortController();
    const stop = () => one.abort();
    signal.addEventListener("abort", stop);
    let timer = setTimeout(stop, silence);
    let first = true;
    try {
      for await (const message of open(one.signal)) {
        clearTimeout(timer);
        timer = setTimeout(stop, silence);
        hear(message, { first, behind });
        [first, behind, wait] = [false, false, firstWait];
      }
    } catch {
      // A stream ends when its server does: the next may know more.
    }
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    if (signal.aborted) return;
    behind = true;
    // Where the server is lost, this tells the page.
    await connection.ask().catch(() => {});
    await new Promise((done) => setTimeout(done, wait));
  }
}

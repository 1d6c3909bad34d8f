// Whether the server answers. While it does not, it is asked again, ever more slowly; when it is back, pages load anew.

const firstWait = 1000;
const longestWait = 15_000;

class Connection {
  lost = $state(false);
  /** Since when the server has not answered. */
  since = $state<Date>();
  /** Grows each time the server is back. */
  returns = $state(0);
  ask: () => Promise<unknown> = async () => {};
  #wait = firstWait;
  #timer: ReturnType<typeof setTimeout> | undefined;

  found() {
    if (!this.lost) return;
    this.lost = false;
    this.since = undefined;
    this.#wait = firstWait;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.returns++;
  }

  missed() {
    if (!this.lost) {
      this.lost = true;
      this.since = new Date();
    }
    if (this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#wait = Math.min(longestWait, this.#wait * 1.5);
      this.ask().catch(() => {}); // found() or missed() was called by the transport
    }, this.#wait);
  }
}

export const connection = new Connection();

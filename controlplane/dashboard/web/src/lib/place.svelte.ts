// Where the page is: path and parameters. All of what is looked at stands in the URL, so that a link shows the same.

class Place {
  path = $state(location.pathname);
  params = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener("popstate", () => this.#read());
  }

  #read() {
    this.path = location.pathname;
    this.params = new URLSearchParams(location.search);
  }

  get(name: string): string {
    return this.params.get(name) ?? "";
  }

  /** The address of another path that keeps what is common to all pages. */
  to(path: string, more: Record<string, string> = {}): string {
    const params = new URLSearchParams();
    for (const name of ["from", "to", "range", "run.from", "run.to", "run.range", "compare", "currency"]) {
      const value = this.params.get(name);
      if (value) params.set(name, value);
    }
    for (const [name, value] of Object.entries(more)) if (value) params.set(name, value);
    const text = params.toString();
    return path + (text ? `?${text}` : "");
  }

  go(url: string) {
    const path = this.path;
    history.pushState(null, "", url);
    this.#read();
    if (this.path !== path) {
      scrollTo(0, 0);
      // Whoever hears the page instead of seeing it must learn that it is another one.
      queueMicrotask(() => document.querySelector<HTMLElement>("h1")?.focus());
    }
  }

  /** Changes parameters; empty ones are left out. Small changes, such as a zoom, do not become a step back. */
  set(changes: Record<string, string>, step = true) {
    const params = new URLSearchParams(this.params);
    for (const [name, value] of Object.entries(changes)) {
      if (value) params.set(name, value);
      else params.delete(name);
    }
    const text = params.toString();
    if (text === this.params.toString()) return;
    const url = this.path + (text ? `?${text}` : "");
    if (step) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
    this.#read();
  }
}

export const place = new Place();

/** Links inside the page do not load it again. */
export function followLinks(event: MouseEvent) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest("a");
  if (!link || link.origin !== location.origin || link.target || link.hasAttribute("download") || link.hash) return;
  event.preventDefault();
  place.go(link.pathname + link.search);
}

// The cells of a quarantined row's raw text: where each begins and ends, so that the failing one can be marked.

export interface Span {
  column: string;
  start: number;
  end: number;
  value: string;
}

/** Cells of a CSV record, as RFC 4180 has them. */
export function csvSpans(text: string, columns: string[], delimiter = ","): Span[] {
  const spans: Span[] = [];
  let i = 0;
  while (i <= text.length) {
    const start = i;
    let value = "";
    if (text[i] === '"') {
      i++;
      while (i < text.length) {
        if (text[i] === '"' && text[i + 1] === '"') {
          value += '"';
          i += 2;
        } else if (text[i] === '"') {
          i++;
          break;
        } else value += text[i++];
      }
    }
    while (i < text.length && text[i] !== delimiter) value += text[i++];
    spans.push({ column: columns[spans.length] ?? "", start, end: i, value });
    i++;
  }
  return spans;
}

/** Top-level values of a JSON object or array; what follows a fault is left out. */
export function jsonSpans(text: string, columns: string[]): Span[] {
  const object = text.trimStart().startsWith("{");
  const spans: Span[] = [];
  let i = text.search(/[[{]/) + 1;
  const blank = () => {
    while (i < text.length && /[\s,:]/.test(text[i]!)) i++;
  };
  const value = (): [number, number] => {
    const start = i;
    let depth = 0;
    while (i < text.length) {
      const c = text[i]!;
      if (c === '"') {
        i++;
        while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
        i++;
        if (depth === 0) break;
      } else if (c === "{" || c === "[") {
        depth++;
        i++;
      } else if (c === "}" || c === "]") {
        if (depth === 0) break;
        depth--;
        i++;
        if (depth === 0) break;
      } else if (depth === 0 && c === ",") break;
      else i++;
    }
    return [start, Math.min(i, text.length)];
  };
  const read = (from: number, to: number) => {
    const part = text.slice(from, to).trim();
    try {
      const v: unknown = JSON.parse(part);
      return typeof v === "string" ? v : part;
    } catch {
      return part;
    }
  };
  for (blank(); i < text.length && text[i] !== "}" && text[i] !== "]"; blank()) {
    const before = i;
    let column = columns[spans.length] ?? "";
    if (object) {
      column = read(...value()).toLowerCase();
      blank();
    }
    const [start, end] = value();
    if (i === before) break;
    spans.push({ column, start, end, value: read(start, end) });
  }
  return spans;
}

/** The columns that a row's rules name: check:column. */
export function failing(rules: string[]): Map<string, string[]> {
  const by = new Map<string, string[]>();
  for (const rule of rules) {
    const [check = "", column = ""] = rule.split(":", 2);
    by.set(column, [...(by.get(column) ?? []), check]);
  }
  return by;
}

/** The cells of a raw text; `assumed` where the contract's order stands in for the file's. */
export function spansOf(text: string, columns: string[], contract: string[]): { spans: Span[]; assumed: boolean } {
  const start = text.trimStart()[0];
  if (start === "{") return { spans: jsonSpans(text, []), assumed: false };
  const read = (names: string[]) => (start === "[" ? jsonSpans(text, names) : csvSpans(text, names, delimiterOf(text, names.length)));
  if (columns.length > 0) return { spans: read(columns), assumed: false };
  const guess = read(contract);
  return guess.length === contract.length ? { spans: guess, assumed: true } : { spans: [], assumed: false };
}

function delimiterOf(text: string, n: number): string {
  return [",", ";", "\t", "|"].find((d) => csvSpans(text, [], d).length === n) ?? ",";
}

/** The text in pieces, the failing ones marked. */
export function pieces(text: string, spans: Span[], bad: Map<string, string[]>): { text: string; rules: string[] }[] {
  const list: { text: string; rules: string[] }[] = [];
  let at = 0;
  for (const s of spans) {
    const rules = bad.get(s.column);
    if (!rules || !s.column) continue;
    if (s.start > at) list.push({ text: text.slice(at, s.start), rules: [] });
    list.push({ text: text.slice(s.start, s.end) || "∅", rules });
    at = s.end;
  }
  if (at < text.length) list.push({ text: text.slice(at), rules: [] });
  return list;
}

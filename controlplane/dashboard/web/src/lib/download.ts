// Exports: what a chart shows, as a file.

export function saveText(name: string, text: string, type: string) {
  save(name, URL.createObjectURL(new Blob([text], { type })));
}

export function save(name: string, url: string) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  if (url.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** RFC 4180. The cells are those of the API, not those of the locale: programs read the file. */
export function csv(header: string[], rows: unknown[][]): string {
  const line = (cells: unknown[]) => cells.map((c) => field(c)).join(",");
  return [line(header), ...rows.map(line)].join("\r\n") + "\r\n";
}

function field(value: unknown): string {
  if (value === null || value === undefined) return "";
  let text = typeof value === "object" ? JSON.stringify(value) : String(value);
  // A spreadsheet would run text that begins like a formula; numbers may begin with a minus.
  if (/^[=+@\t\r-]/.test(text) && !/^[+-]?[\d.]+$/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

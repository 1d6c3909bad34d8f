// A result as a grid: the first text goes down, the first rank or number without a unit goes across.
import { type Column, ColumnType } from "../gen/shoplake/v1/common_pb";
import { cell, isRatio, label, numeric, percent } from "../lib/format";
import { dark } from "../lib/settings.svelte";
import { colour } from "../parts/chart";
import type { Row } from "../parts/ResultTable.svelte";

export interface Grid {
  down: Column;
  /** A number that belongs to the whole line, such as the size of a cohort. */
  size: Column | undefined;
  rows: string[];
  sizes: (string | number)[];
  across: string[];
  cells: ({ x: number; value: number | null; text: string; hint: string } | undefined)[][];
}

export function gridOf(columns: Column[], rows: Row[], metric: Column, currency: string): Grid | undefined {
  const down = columns.find((c) => (c.type === ColumnType.STRING || c.type === ColumnType.DATE) && c.name !== "currency");
  const axis = columns.find((c) => c !== down && c.name !== "currency" && (c.type === ColumnType.STRING || c.type === ColumnType.DATE)) ?? columns.find((c) => numeric(c) && c !== metric);
  if (!down || !axis) return undefined;
  const size = columns.find((c) => c.name.endsWith("_size") && numeric(c));
  const places = (list: string[]) => new Map(list.map((name, i) => [name, i]));
  const names = [...new Set(rows.map((r) => String(r[down.name] ?? "–")))];
  const across = [...new Set(rows.map((r) => String(r[axis.name] ?? "–")))];
  if (numeric(axis)) across.sort((a, b) => Number(a) - Number(b));
  const downAt = places(names);
  const acrossAt = places(across);
  const cells: Grid["cells"] = names.map(() => across.map(() => undefined));
  const sizes: (string | number)[] = names.map(() => "");
  for (const row of rows) {
    const y = downAt.get(String(row[down.name] ?? "–"))!;
    const x = acrossAt.get(String(row[axis.name] ?? "–"))!;
    const value = row[metric.name];
    if (size) sizes[y] = row[size.name] as string;
    cells[y]![x] = {
      x: Number(across[x]),
      value: value === null || value === undefined ? null : Number(value),
      text: String(value ?? ""),
      hint: columns.filter((c) => c.name !== "currency").map((c) => `${label(c.name)}: ${cell(c, row[c.name], currency)}`).join("\n"),
    };
  }
  return { down, size, rows: names, sizes, across, cells };
}

/** The value that has the strongest colour. Where a line begins with the whole (a cohort's first month), that one does not count. */
export function highest(grid: Grid): number {
  return Math.max(1e-12, ...grid.cells.flat().map((c) => (c && (c.x !== 0 || !grid.size) ? (c.value ?? 0) : 0)));
}

/** How a cell looks. The strongest colour still lets the text be read on it (4.5 : 1). */
export function look(share: number, onDark: boolean): { background: string; color: string } {
  const part = Math.min(1, Math.max(0, share));
  if (onDark) return { background: `hsl(199 60% ${13 + part * 20}%)`, color: "#e6edf3" };
  return { background: `hsl(199 ${45 + part * 20}% ${96 - part * 46}%)`, color: "#14202b" };
}

export const written = (metric: Column, text: string, currency: string) => (isRatio(metric) ? percent(text, 0) : cell(metric, text, currency, true));

/** The grid as a picture. */
export function gridPicture(grid: Grid, title: string, metric: Column, currency: string): string {
  const [left, top, wide, high] = [130, 80, 62, 32];
  const canvas = document.createElement("canvas");
  canvas.width = 2 * Math.max(560, left + grid.across.length * wide + 20);
  canvas.height = 2 * (top + grid.rows.length * high + 20);
  const c = canvas.getContext("2d");
  if (!c) return "";
  const font = getComputedStyle(document.body).fontFamily;
  c.scale(2, 2);
  c.fillStyle = colour("sheet");
  c.fillRect(0, 0, canvas.width, canvas.height);
  c.fillStyle = colour("text");
  c.font = `600 15px ${font}`;
  c.fillText(title, 14, 28);
  c.font = `12px ${font}`;
  c.textBaseline = "middle";
  grid.rows.forEach((row, y) => c.fillText(row, 14, top + y * high + high / 2));
  c.textAlign = "center";
  grid.across.forEach((name, x) => c.fillText(name, left + x * wide + wide / 2, top - 14));
  const most = highest(grid);
  grid.cells.forEach((line, y) =>
    line.forEach((cell, x) => {
      if (!cell || cell.value === null) return;
      const l = look(cell.value / most, dark());
      c.fillStyle = l.background;
      c.fillRect(left + x * wide + 1, top + y * high + 1, wide - 2, high - 2);
      c.fillStyle = l.color;
      c.fillText(written(metric, cell.text, currency), left + x * wide + wide / 2, top + y * high + high / 2);
    }),
  );
  return canvas.toDataURL("image/png");
}

// A result as a grid: the first text goes down, the first rank or number without a unit goes across.
import { type Column, ColumnType } from "../gen/shoplake/v1/common_pb";
import { cell, label, numeric } from "../lib/format";
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
  const names = [...new Set(rows.map((r) => String(r[down.name] ?? "–")))];
  const across = [...new Set(rows.map((r) => String(r[axis.name] ?? "–")))];
  if (numeric(axis)) across.sort((a, b) => Number(a) - Number(b));
  const cells: Grid["cells"] = names.map(() => across.map(() => undefined));
  const sizes: (string | number)[] = names.map(() => "");
  for (const row of rows) {
    const y = names.indexOf(String(row[down.name] ?? "–"));
    const x = across.indexOf(String(row[axis.name] ?? "–"));
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

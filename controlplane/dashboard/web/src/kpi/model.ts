// What a KPI's columns mean for drawing it: decided from names, types and units, so that a KPI of a user's own needs no
// change of the page.
import { type Column, ColumnType } from "../gen/shoplake/v1/common_pb";
import type { Kpi, QueryKpiResponse } from "../gen/shoplake/v1/kpi_pb";
import type { Row } from "../parts/ResultTable.svelte";
import { isMoney, isRatio, numeric } from "../lib/format";

/** A row with what was computed beside it. */
export interface Line {
  row: Row;
  change: Record<string, string>;
  average: Record<string, string>;
}

const ordinal = /^(rank|position|.*_number)$/;

/** Columns that are measured: numbers other than ranks. Money comes first. */
export function measures(columns: Column[]): Column[] {
  const all = columns.filter((c) => numeric(c) && !ordinal.test(c.name));
  return [...all.filter(isMoney), ...all.filter((c) => !isMoney(c))];
}

const texts = (columns: Column[]) => columns.filter((c) => c.type === ColumnType.STRING && c.name !== "currency");

/** The column that names a bar: a name where there is one, else the first text. */
export function naming(columns: Column[]): Column | undefined {
  const all = texts(columns);
  return all.find((c) => c.name.endsWith("_name")) ?? all[0];
}

/** What stands for a row whose name is missing. */
export function nameOf(columns: Column[], row: Row): string {
  const column = naming(columns);
  if (!column) return "";
  const name = row[column.name];
  if (name !== null && name !== undefined) return String(name);
  const other = texts(columns)[0];
  return String((other && row[other.name]) ?? "–");
}

export const hasCurrency = (columns: Column[]) => columns.some((c) => c.name === "currency");
export const dateColumn = (columns: Column[]) => columns.find((c) => c.type === ColumnType.DATE);

/** The rows of a currency (all, where the KPI has none), with what stands beside each. */
export function lines(answer: QueryKpiResponse, currency: string): Line[] {
  const columns = answer.rowSet?.columns ?? [];
  const all = (answer.rowSet?.rows ?? []).map((row, i) => ({
    row: row as Row,
    change: (answer.changes[i] ?? {}) as Record<string, string>,
    average: (answer.averages[i] ?? {}) as Record<string, string>,
  }));
  return hasCurrency(columns) ? all.filter((l) => l.row.currency === currency) : all;
}

export function rowsOf(rows: object[], columns: Column[], currency: string): Row[] {
  return hasCurrency(columns) ? (rows as Row[]).filter((r) => r.currency === currency) : (rows as Row[]);
}

/** Lines of the same texts (but for the currency): a series each. */
export function bySeries(columns: Column[], rows: Line[]): Map<string, Line[]> {
  const series = new Map<string, Line[]>();
  for (const line of rows) {
    const name = texts(columns).map((c) => String(line.row[c.name] ?? "–")).join(" · ");
    const list = series.get(name);
    if (list) list.push(line);
    else series.set(name, [line]);
  }
  return series;
}

/** How many lines a chart draws at most: more cannot be told apart. */
export const mostSeries = 8;

/** The largest series, by what a measure sums up to. */
export function largest(series: Map<string, Line[]>, metric: Column): Map<string, Line[]> {
  if (series.size <= mostSeries) return series;
  const size = (lines: Line[]) => lines.reduce((sum, l) => sum + Math.abs(Number(l.row[metric.name] ?? 0)), 0);
  const sized = [...series].map(([name, lines]) => ({ name, lines, size: size(lines) }));
  return new Map(sized.sort((a, b) => b.size - a.size).slice(0, mostSeries).map((s) => [s.name, s.lines]));
}

/** A card of a number, or of a part with the counts that it comes from. */
export function headline(columns: Column[]): { shown: Column[]; beside: Column[] } {
  const all = columns.filter(numeric);
  const ratio = all.find(isRatio);
  if (ratio) return { shown: [ratio], beside: all.filter((c) => c !== ratio) };
  return { shown: all, beside: [] };
}

/** Filters: parameters of text that other KPIs give the values for, in a column of the same name. */
export function dimensions(kpis: Kpi[]): { name: string; from: Kpi }[] {
  const names = new Set(kpis.flatMap((k) => k.parameters.filter((p) => p.type === "string").map((p) => p.name)));
  const list: { name: string; from: Kpi }[] = [];
  for (const name of names) {
    const from = kpis.find((k) => !takes(k, name) && k.columns.some((c) => c.name === name && c.type === ColumnType.STRING));
    if (from) list.push({ name, from });
  }
  return list;
}

export const takes = (kpi: Kpi, parameter: string) => kpi.parameters.some((p) => p.name === parameter);

const widths: Record<string, number> = { line: 8, bar: 4, funnel: 4, heatmap: 5, table: 7 };
const order = ["line", "bar", "funnel", "heatmap", "table"];

/** Which KPIs stand where: rows of twelve columns, the last of a row as wide as what is left. */
export function layout(kpis: Kpi[]): { kpi: Kpi; span: number }[] {
  const rank = (k: Kpi) => (order.includes(k.chart) ? order.indexOf(k.chart) : order.length);
  const list = kpis.filter((k) => k.chart !== "card").toSorted((a, b) => rank(a) - rank(b));
  const placed = list.map((kpi) => ({ kpi, span: widths[kpi.chart] ?? 6 }));
  let used = 0;
  placed.forEach((item, i) => {
    used += item.span;
    const next = placed[i + 1];
    if (!next || used + next.span > 12) {
      item.span += 12 - used;
      used = 0;
    }
  });
  return placed;
}

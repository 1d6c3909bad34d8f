// KPIs as options of ECharts. Numbers become floats here, for the height of a line only; what is written is the text.
import type { Column } from "../gen/shoplake/v1/common_pb";
import { type Cell, cell, day, isMoney, label, money, weekday } from "../lib/format";
import { axisStyle, base, colour, type Option, seriesColours, tip, tooltipStyle } from "../parts/chart";
import type { Row } from "../parts/ResultTable.svelte";
import { bySeries, dateColumn, largest, type Line, nameOf } from "./model";

/** A number of an axis: round amounts go without cents. */
const tick = (metric: Column, v: number, currency: string) => (isMoney(metric) ? money(v, metric.unit === "currency" ? currency : metric.unit, true, Number.isInteger(v)) : cell(metric, v, currency, true));

const float = (v: Cell): number | null => (v === null || v === undefined || v === "" ? null : Number(v));

export interface LineInput {
  columns: Column[];
  lines: Line[];
  before: Row[];
  /** What they are called. */
  beforeName: string;
  metric: Column;
  currency: string;
  /** Rows of the moving average. */
  average: number;
  hidden: string[];
  zoom: [number, number] | undefined;
}

export function lineOption(input: LineInput): Option {
  const { columns, lines, before, metric, currency, average } = input;
  const when = dateColumn(columns);
  const groups = largest(bySeries(columns, lines), metric);
  const several = groups.size > 1;
  const days = when ? [...new Set(lines.map((l) => String(l.row[when.name])))] : lines.map((_, i) => String(i + 1));
  const first = seriesColours()[0];
  const texts: Record<string, Cell[]> = {};
  const series: Record<string, unknown>[] = [];
  const add = (name: string, values: Cell[], look: Record<string, unknown>) => {
    texts[name] = values;
    series.push({ name, type: "line", showSymbol: values.length < 3, symbolSize: 6, data: values.map(float), emphasis: { disabled: true }, ...look });
  };
  for (const [group, members] of groups) {
    const byDay = new Map(members.map((l) => [when ? String(l.row[when.name]) : "", l]));
    const ordered = when ? days.map((d) => byDay.get(d)) : members;
    add(several ? group : label(metric.name), ordered.map((l) => l?.row[metric.name] as Cell),
      several ? { lineStyle: { width: 1.8 } } : { lineStyle: { width: 1.6, color: first }, itemStyle: { color: first }, areaStyle: { color: first, opacity: 0.1 } });
    if (!several && average > 1) {
      add(`${average}-day average`, ordered.map((l) => l?.average[metric.name]), { lineStyle: { width: 2.4, color: colour("series-2") }, itemStyle: { color: colour("series-2") }, smooth: 0.2 });
    }
  }
  if (!several && before.length > 0) {
    add(input.beforeName, days.map((_, i) => before[i]?.[metric.name] as Cell), { lineStyle: { width: 1.4, type: [4, 3], color: colour("before") }, itemStyle: { color: colour("before") } });
  }
  return {
    ...base(),
    grid: { left: 8, right: 14, top: 34, bottom: days.length > 14 ? 46 : 10, containLabel: true },
    legend: {
      left: 0, top: 0, icon: "roundRect", itemWidth: 14, itemHeight: 4, textStyle: { color: colour("muted") }, inactiveColor: colour("line-strong"),
      selected: Object.fromEntries(input.hidden.map((name) => [name, false])),
    },
    xAxis: { type: "category", boundaryGap: false, data: days, ...axisStyle(), axisLabel: { ...axisStyle().axisLabel, formatter: (d: string) => (when ? day(d, true) : d) } },
    yAxis: { type: "value", ...axisStyle(true), axisLine: { show: false }, axisLabel: { color: colour("muted"), fontSize: 11, formatter: (v: number) => tick(metric, v, currency) } },
    dataZoom: days.length > 14
      ? [
          { type: "slider", height: 18, bottom: 6, start: input.zoom?.[0] ?? 0, end: input.zoom?.[1] ?? 100, borderColor: colour("line"), fillerColor: colour("accent-soft"), handleStyle: { color: colour("accent") }, moveHandleSize: 0, showDetail: false, dataBackground: { lineStyle: { opacity: 0.3 }, areaStyle: { opacity: 0.1 } }, backgroundColor: "transparent" },
          { type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseMove: false, moveOnMouseWheel: false, start: input.zoom?.[0] ?? 0, end: input.zoom?.[1] ?? 100 },
        ]
      : undefined,
    tooltip: {
      trigger: "axis", ...tooltipStyle(),
      formatter: (items: { seriesName: string; dataIndex: number; color: string }[]) => {
        const at = items[0]?.dataIndex ?? 0;
        return tip(when ? weekday(days[at] ?? "") : (days[at] ?? ""), items.map((i) => ({ name: i.seriesName === input.beforeName && when ? `${i.seriesName}, ${day(String(before[at]?.[when.name] ?? ""), true)}` : i.seriesName, colour: i.color, value: cell(metric, texts[i.seriesName]?.[at], currency) })));
      },
    },
    series,
  };
}

/** A bar of each row. */
export const bars = (columns: Column[], rows: Row[], metric: Column, currency: string) =>
  rows.map((r) => ({ name: nameOf(columns, r), value: float(r[metric.name]), text: cell(metric, r[metric.name], currency) }));

// What charts share: the colours of the theme, tooltips made of elements (the Content-Security-Policy allows no inline
// style), and pictures of charts that are not on the page.
import type { EChartsCoreOption } from "echarts/core";
import { save } from "../lib/download";

export type Option = EChartsCoreOption;

/** A colour of the theme, as it is now. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export const seriesColours = () => [1, 2, 3, 4, 5, 6].map((n) => colour(`series-${n}`));

/** What every chart begins with. */
export function base(): Option {
  return {
    backgroundColor: "transparent",
    color: seriesColours(),
    animationDuration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 250,
    animationDurationUpdate: 0,
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: colour("text") },
  };
}

export function axisStyle(split = false) {
  return {
    axisLine: { lineStyle: { color: colour("line-strong") } },
    axisTick: { show: false },
    axisLabel: { color: colour("muted"), fontSize: 11, hideOverlap: true },
    splitLine: { show: split, lineStyle: { color: colour("grid") } },
  };
}

export function tooltipStyle(): Record<string, unknown> {
  return {
    backgroundColor: colour("raised"),
    borderColor: colour("line-strong"),
    textStyle: { color: colour("text"), fontSize: 12 },
    confine: true,
    transitionDuration: 0,
  };
}

/** A tooltip: a title and lines of name and value. */
export function tip(title: string, lines: { name: string; value: string; colour?: string }[]): HTMLElement {
  const box = document.createElement("div");
  const head = box.appendChild(document.createElement("strong"));
  head.textContent = title;
  const table = box.appendChild(document.createElement("div"));
  table.className = "tip";
  for (const line of lines) {
    const name = table.appendChild(document.createElement("span"));
    if (line.colour) {
      const dot = name.appendChild(document.createElement("i"));
      dot.style.background = line.colour;
    }
    name.append(line.name);
    const value = table.appendChild(document.createElement("b"));
    value.textContent = line.value;
  }
  return box;
}

/** Bars lying on their side, with their names and values; also how a funnel becomes a picture. */
export function barsOption(bars: { name: string; value: number | null; text: string }[]): Option {
  const upwards = bars.toReversed();
  return {
    ...base(),
    grid: { left: 12, right: 90, top: 48, bottom: 12, containLabel: true },
    xAxis: { type: "value", show: false },
    yAxis: { type: "category", data: upwards.map((b) => b.name), ...axisStyle(), axisLabel: { color: colour("text"), width: 240, overflow: "truncate" } },
    series: [{
      type: "bar", barMaxWidth: 24, data: upwards.map((b) => b.value), itemStyle: { borderRadius: 3 },
      label: { show: true, position: "right", color: colour("text"), formatter: (p: { dataIndex: number }) => upwards[p.dataIndex]?.text ?? "" },
    }],
  };
}

/** Saves bars as a picture. */
export function saveBars(name: string, title: string, bars: { name: string; value: number | null; text: string }[]) {
  const most = 30;
  return savePicture(name, title, barsOption(bars.slice(0, most)), 960, 80 + Math.min(most, bars.length) * 30);
}

/** Draws a chart out of sight and saves it as a picture. */
export async function savePicture(name: string, title: string, option: Option, width = 960, height = 480) {
  const { init } = await import("./echarts");
  const box = document.createElement("div");
  const chart = init(box, null, { width, height, devicePixelRatio: 2 });
  chart.setOption({
    ...option,
    animation: false,
    backgroundColor: colour("sheet"),
    dataZoom: undefined,
  });
  const picture = chart.renderToCanvas({ pixelRatio: 2, backgroundColor: colour("sheet") });
  const pen = picture.getContext("2d");
  if (pen) {
    pen.setTransform(2, 0, 0, 2, 0, 0);
    pen.fillStyle = colour("text");
    pen.font = `600 15px ${getComputedStyle(document.body).fontFamily}`;
    pen.fillText(title, 14, 26);
  }
  save(name, picture.toDataURL("image/png"));
  chart.dispose();
}

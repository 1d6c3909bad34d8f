// A run's stages in time, as a picture and as rows.
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type Run, type Stage, StageState } from "../gen/shoplake/v1/run_pb";
import { date, duration, millis } from "../lib/format";
import { id } from "../lib/states";
import { axisStyle, base, colour, savePicture } from "../parts/chart";

export function saveWaterfall(name: string, run: Run, stages: Stage[]) {
  const begun = stages.filter((s) => s.startTime).toSorted((a, b) => Number(timestampDate(b.startTime!)) - Number(timestampDate(a.startTime!)));
  const from = Math.min(...begun.map((s) => timestampDate(s.startTime!).getTime()));
  const took = (s: Stage) => (s.endTime ? timestampDate(s.endTime).getTime() : Date.now()) - timestampDate(s.startTime!).getTime();
  return savePicture(name, `Stages of run ${id(run.name)}`, {
    ...base(),
    grid: { left: 12, right: 80, top: 48, bottom: 12, containLabel: true },
    xAxis: { type: "value", position: "top", ...axisStyle(true), axisLabel: { color: colour("muted"), formatter: (v: number) => duration(v) } },
    yAxis: { type: "category", data: begun.map((s) => s.table), ...axisStyle(), axisLabel: { color: colour("text") } },
    series: [
      { type: "bar", stack: "time", itemStyle: { color: "transparent" }, data: begun.map((s) => timestampDate(s.startTime!).getTime() - from) },
      {
        type: "bar", stack: "time", barMaxWidth: 18, label: { show: true, position: "right", color: colour("text"), formatter: (p: { value: number }) => duration(p.value) },
        data: begun.map((s) => ({ value: took(s), itemStyle: { borderRadius: 3, color: colour(s.state === StageState.FAILED ? "bad" : "series-1") } })),
      },
    ],
  }, 960, 90 + begun.length * 28);
}

export const rowsOf = (stages: Stage[]): [string[], unknown[][]] => [
  ["stage", "state", "start_time", "end_time", "tasks", "attempts", "queued_seconds", "running_seconds", "rows_in", "rows_out", "bytes_out", "error"],
  stages.map((s) => [s.table, StageState[s.state], date(s.startTime)?.toISOString(), date(s.endTime)?.toISOString(), s.tasks, s.attempts, millis(s.queued) / 1000, millis(s.running) / 1000, s.rowsIn, s.rowsOut, s.bytesOut, s.error?.message]),
];

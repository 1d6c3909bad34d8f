// Ranges of business days. A day is YYYY-MM-DD, and counted in UTC, so that no local clock moves it.

export interface Range {
  /** First day. */
  from: string;
  /** The day after the last. */
  to: string;
}

export function addDays(day: string, n: number): string {
  const at = new Date(`${day}T00:00:00Z`);
  at.setUTCDate(at.getUTCDate() + n);
  return at.toISOString().slice(0, 10);
}

export function daysOf(r: Range): number {
  return Math.round((Date.parse(`${r.to}T00:00:00Z`) - Date.parse(`${r.from}T00:00:00Z`)) / 86_400_000);
}

/** The day of a moment, where the reader is. */
export function localDay(at: Date): string {
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;
}

export const within = (r: Range | undefined, day: string) => r !== undefined && day >= r.from && day < r.to;

function monthStart(day: string, months = 0): string {
  const at = new Date(`${day.slice(0, 7)}-01T00:00:00Z`);
  at.setUTCMonth(at.getUTCMonth() + months);
  return at.toISOString().slice(0, 10);
}

export interface Preset {
  id: string;
  title: string;
  range: (first: string, last: string) => Range;
}

const lastDays = (n: number): Preset => ({
  id: `${n}d`,
  title: `Last ${n} days`,
  range: (_, last) => ({ from: addDays(last, 1 - n), to: addDays(last, 1) }),
});

/** Presets count back from the last day that has data, which may not be today. */
export const presets: Preset[] = [
  lastDays(7),
  lastDays(30),
  lastDays(90),
  { id: "month", title: "This month", range: (_, last) => ({ from: monthStart(last), to: addDays(last, 1) }) },
  { id: "lastmonth", title: "Last month", range: (_, last) => ({ from: monthStart(last, -1), to: monthStart(last) }) },
  { id: "year", title: "This year", range: (_, last) => ({ from: `${last.slice(0, 4)}-01-01`, to: addDays(last, 1) }) },
  { id: "all", title: "All data", range: (first, last) => ({ from: first, to: addDays(last, 1) }) },
];

export const defaultPreset = "30d";

const dayPattern = /^\d{4}-\d{2}-\d{2}$/;

export function isDay(text: string): boolean {
  return dayPattern.test(text) && !Number.isNaN(Date.parse(`${text}T00:00:00Z`));
}

/** What parameters of the days on which runs ran begin with: these are not the days that orders are of. */
export const ofRuns = "run.";

/** The range that the URL names, given the days that there are. */
export function chosen(params: { get(name: string): string }, first: string, last: string, prefix = ""): { range: Range; preset: string } {
  const from = params.get(`${prefix}from`);
  const to = params.get(`${prefix}to`);
  if (isDay(from) && isDay(to) && from < to) return { range: { from, to }, preset: "" };
  const preset = presets.find((p) => p.id === params.get(`${prefix}range`)) ?? presets.find((p) => p.id === defaultPreset)!;
  return { range: preset.range(first, last), preset: preset.id };
}

/** The range that a range is compared with: as many days right before it, or the same days of the year before. */
export function compareWith(r: Range, how: string): Range | undefined {
  if (how === "none") return undefined;
  if (how === "year") return { from: yearBefore(r.from), to: yearBefore(r.to) };
  return { from: addDays(r.from, -daysOf(r)), to: r.from };
}

function yearBefore(day: string): string {
  const at = `${Number(day.slice(0, 4)) - 1}${day.slice(4)}`;
  return isDay(at) && addDays(at, 0) === at ? at : addDays(`${at.slice(0, 7)}-28`, 1);
}

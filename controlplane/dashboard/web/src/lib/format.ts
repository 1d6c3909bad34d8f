// Numbers, dates and money as the reader's locale writes them. Amounts come as decimal texts and are formatted from the text,
// so that no digit passes through a float.
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { type Column, ColumnType } from "../gen/shoplake/v1/common_pb";

export type Cell = string | number | boolean | null | undefined | object;

const formats = new Map<string, Intl.NumberFormat>();

function numberFormat(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = JSON.stringify(options);
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(undefined, options);
    formats.set(key, format);
  }
  return format;
}

/** Digits of a decimal text, exactly. */
function digits(options: Intl.NumberFormatOptions, value: string | number | bigint): string {
  // The standard takes decimal texts as exact numbers.
  return numberFormat(options).format(value as number);
}

export function count(value: string | number | bigint): string {
  return digits({ maximumFractionDigits: 0 }, value);
}

/** A number in few letters: 60K. */
export function few(value: number | bigint): string {
  return Number(value) < 1000 ? count(value) : digits({ notation: "compact", maximumSignificantDigits: 2 }, value);
}

/** A number of things: 1 row, 2 rows. */
export function counted(value: number | bigint, one: string): string {
  return `${count(value)} ${one}${Number(value) === 1 ? "" : "s"}`;
}

export function number(value: string | number): string {
  return digits({ maximumFractionDigits: 2 }, value);
}

export function percent(value: string | number, places = 1): string {
  return digits({ style: "percent", maximumFractionDigits: places, minimumFractionDigits: places }, value);
}

/** A difference of two parts of a whole, in percentage points. */
export function points(difference: number): string {
  return `${digits({ maximumFractionDigits: Math.abs(difference) < 0.01 ? 2 : 1, signDisplay: "exceptZero" }, 100 * difference)} pp`;
}

/** A change of a number since the period before; that of a part of a whole in percentage points, since a percentage of it misleads. */
export function change(value: string, column?: Column, now?: Cell): string {
  const part = Number(value);
  if (column && isRatio(column) && part !== -1) return points((Number(now) * part) / (1 + part));
  return digits({ style: "percent", maximumFractionDigits: Math.abs(part) < 10 ? 1 : 0, signDisplay: "exceptZero" }, value);
}

export function money(value: string | number, currency: string, compact = false, whole = false): string {
  try {
    return digits(
      compact && Math.abs(Number(value)) >= 10_000
        ? { style: "currency", currency, currencyDisplay: "narrowSymbol", notation: "compact", maximumFractionDigits: 1 }
        : { style: "currency", currency, currencyDisplay: "narrowSymbol", ...(whole ? { maximumFractionDigits: 0 } : {}) },
      value,
    );
  } catch {
    return `${number(value)} ${currency}`; // no code of ISO 4217
  }
}

export function bytes(value: bigint | number): string {
  let n = Number(value);
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return digits({ style: "unit", unit: units[i], unitDisplay: i === 0 ? "long" : "short", maximumFractionDigits: n < 10 && i > 0 ? 1 : 0 }, n);
}

const dateFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const shortDateFormat = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
const shortLocalFormat = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: "short", month: "short", day: "numeric", year: "numeric", timeZone: "UTC" });
const timeFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const briefFormat = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const clockFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const relativeFormat = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

/** A business day. */
export function day(text: string, short = false): string {
  const at = new Date(`${text}T00:00:00Z`);
  return Number.isNaN(at.getTime()) ? text : (short ? shortDateFormat : dateFormat).format(at);
}

export function weekday(text: string): string {
  const at = new Date(`${text}T00:00:00Z`);
  return Number.isNaN(at.getTime()) ? text : weekdayFormat.format(at);
}

/** A range of days, its end the day after the last. */
export function days(from: string, to: string): string {
  const last = new Date(Date.parse(`${to}T00:00:00Z`) - 86_400_000);
  return dateFormat.formatRange(new Date(`${from}T00:00:00Z`), last);
}

export function date(at: Timestamp | undefined): Date | undefined {
  return at && timestampDate(at);
}

export function time(at: Timestamp | Date | undefined): string {
  if (!at) return "";
  return timeFormat.format(at instanceof Date ? at : timestampDate(at));
}

const hourFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const minute = 60_000;

/** Moments along an axis: as much of each as tells it from the others. */
export function along(first: Date, last: Date): (at: Date) => string {
  const between = last.getTime() - first.getTime();
  const format = between > 2 * 1440 * minute ? shortLocalFormat : between > 720 * minute ? briefFormat : between > 10 * minute ? hourFormat : clockFormat;
  return (at) => format.format(at);
}

/** A time in few letters, for narrow tables. */
export function brief(at: Timestamp | undefined): string {
  return at ? briefFormat.format(timestampDate(at)) : "";
}

export function clock(at: Timestamp | Date | undefined): string {
  if (!at) return "";
  return clockFormat.format(at instanceof Date ? at : timestampDate(at));
}

export function ago(at: Timestamp | Date | undefined, now = Date.now()): string {
  if (!at) return "";
  const seconds = ((at instanceof Date ? at : timestampDate(at)).getTime() - now) / 1000;
  const steps: [number, Intl.RelativeTimeFormatUnit][] = [
    [60, "second"],
    [3600, "minute"],
    [86_400, "hour"],
    [86_400 * 30, "day"],
    [86_400 * 365, "month"],
  ];
  let size = 1;
  for (const [limit, unit] of steps) {
    if (Math.abs(seconds) < limit) return relativeFormat.format(Math.round(seconds / size), unit);
    size = limit;
  }
  return relativeFormat.format(Math.round(seconds / size), "year");
}

/** A number as a headline: amounts that are long go without cents. */
export function headline(column: Column, value: Cell, currency: string): string {
  if (value === null || value === undefined || !isMoney(column) || Math.abs(Number(value)) < 100_000) return cell(column, value, currency);
  const code = column.unit === "currency" ? currency : column.unit;
  try {
    return digits({ style: "currency", currency: code, currencyDisplay: "narrowSymbol", maximumFractionDigits: 0 }, value as string);
  } catch {
    return cell(column, value, currency);
  }
}

const regions = new Intl.DisplayNames(undefined, { type: "region", fallback: "code" });

/** A text of a result as people call it: codes of countries by their names. */
export function called(column: Column | undefined, text: string): string {
  if (!column || !/(^|_)country$/.test(column.name) || !/^[A-Z]{2}$/.test(text)) return text;
  return regions.of(text) ?? text;
}

/** A length of time in milliseconds. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return "";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 60) return `${digits({ maximumFractionDigits: s < 10 ? 1 : 0 }, s)} s`;
  const m = Math.floor(s / 60);
  const left = Math.floor(s % 60);
  if (m < 60) return left === 0 ? `${m} min` : `${m} min ${left} s`;
  return m % 60 === 0 ? `${m / 60} h` : `${Math.floor(m / 60)} h ${m % 60} min`;
}

export function millis(d: Duration | undefined): number {
  return d ? Number(d.seconds) * 1000 + d.nanos / 1e6 : 0;
}

/** A column's name for people: average_order_value becomes Average order value. */
export function label(name: string): string {
  const text = name.replaceAll("_", " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function numeric(column: Column): boolean {
  return column.type === ColumnType.INT64 || column.type === ColumnType.DECIMAL || column.type === ColumnType.DOUBLE;
}

export const isMoney = (column: Column) => column.unit === "currency" || /^[A-Z]{3}$/.test(column.unit);
export const isRatio = (column: Column) => column.unit === "percent" || column.unit === "ratio";

/** A cell of a result as a person reads it. `currency` is that of the row. */
export function cell(column: Column, value: Cell, currency = "", compact = false): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "Yes" : "No";
  if (typeof value === "object") return JSON.stringify(value);
  if (numeric(column)) {
    if (isMoney(column)) return money(value, column.unit === "currency" ? currency : column.unit, compact);
    if (isRatio(column)) return percent(value);
    if (column.unit === "bytes") return bytes(Number(value));
    if (compact && Math.abs(Number(value)) >= 10_000) return digits({ notation: "compact", maximumFractionDigits: 1 }, value);
    return number(value);
  }
  if (column.type === ColumnType.DATE) return day(String(value));
  if (column.type === ColumnType.TIMESTAMP) return time(new Date(String(value)));
  return String(value);
}

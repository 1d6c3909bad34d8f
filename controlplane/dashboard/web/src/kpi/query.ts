// How the page asks for a KPI.
import type { Kpi, QueryKpiResponse } from "../gen/shoplake/v1/kpi_pb";
import { kpis } from "../lib/api";
import type { Range } from "../lib/range";
import { takes } from "./model";

/** What all KPIs of the page are asked for. */
export interface View {
  range: Range;
  compare: Range | undefined;
  /** Values of text parameters that several KPIs share, such as a category. */
  filters: Record<string, string>;
}

export interface Extra {
  parameters?: Record<string, string>;
  trendPoints?: number;
  averageRows?: number;
}

/** How many rows of a KPI are shown at most; the answer's page token is left where there are more. */
export const mostRows = 50_000;

export async function ask(kpi: Kpi, view: View, extra: Extra, signal: AbortSignal): Promise<QueryKpiResponse> {
  const parameters = { ...extra.parameters };
  for (const [name, value] of Object.entries(view.filters)) if (value && takes(kpi, name)) parameters[name] = value;
  const question = {
    name: kpi.name, startDate: view.range.from, endDate: view.range.to, parameters,
    compareStartDate: view.compare?.from ?? "", compareEndDate: view.compare?.to ?? "",
    trendPoints: extra.trendPoints ?? 0, averageRows: extra.averageRows ?? 0,
  };
  const answer = await kpis.queryKpi(question, { signal });
  const set = answer.rowSet;
  while (set && answer.nextPageToken && set.rows.length < mostRows) {
    const more = await kpis.queryKpi({ ...question, pageToken: answer.nextPageToken }, { signal });
    set.rows.push(...(more.rowSet?.rows ?? []));
    answer.changes.push(...more.changes);
    answer.averages.push(...more.averages);
    answer.nextPageToken = more.nextPageToken;
  }
  return answer;
}

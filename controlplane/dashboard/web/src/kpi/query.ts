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

export function ask(kpi: Kpi, view: View, extra: Extra, signal: AbortSignal): Promise<QueryKpiResponse> {
  const parameters = { ...extra.parameters };
  for (const [name, value] of Object.entries(view.filters)) if (value && takes(kpi, name)) parameters[name] = value;
  return kpis.queryKpi(
    {
      name: kpi.name, startDate: view.range.from, endDate: view.range.to, parameters,
      compareStartDate: view.compare?.from ?? "", compareEndDate: view.compare?.to ?? "",
      trendPoints: extra.trendPoints ?? 0, averageRows: extra.averageRows ?? 0,
    },
    { signal },
  );
}

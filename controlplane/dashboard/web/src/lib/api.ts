// The clients of the API: generated from the same protos as the server's.
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { BackfillService } from "../gen/shoplake/v1/backfill_pb";
import { FlowService } from "../gen/shoplake/v1/flow_pb";
import { HealthService } from "../gen/shoplake/v1/health_pb";
import { KpiService } from "../gen/shoplake/v1/kpi_pb";
import { PipelineService } from "../gen/shoplake/v1/pipeline_pb";
import { QuarantineService } from "../gen/shoplake/v1/quarantine_pb";
import { RunService } from "../gen/shoplake/v1/run_pb";
import { SourceService } from "../gen/shoplake/v1/source_pb";
import { TableService } from "../gen/shoplake/v1/table_pb";
import { connection } from "./connection.svelte";

const transport = createConnectTransport({
  baseUrl: location.origin,
  useBinaryFormat: true,
  fetch: async (input, init) => {
    try {
      const response = await fetch(input, init);
      connection.found();
      return response;
    } catch (error) {
      if (!init?.signal?.aborted) connection.missed();
      throw error;
    }
  },
});

export const kpis = createClient(KpiService, transport);
export const runs = createClient(RunService, transport);
export const flows = createClient(FlowService, transport);
export const backfills = createClient(BackfillService, transport);
export const tables = createClient(TableService, transport);
export const sources = createClient(SourceService, transport);
export const quarantine = createClient(QuarantineService, transport);
export const health = createClient(HealthService, transport);
export const pipelines = createClient(PipelineService, transport);

// A lost server is asked for until it answers.
connection.ask = () => health.getHealth({});

/** Whether a call ended because the page no longer wanted it. */
export function aborted(error: unknown): boolean {
  return ConnectError.from(error).code === Code.Canceled || (error instanceof DOMException && error.name === "AbortError");
}

/** What went wrong, in words for a person. */
export function reason(error: unknown): string {
  const e = ConnectError.from(error);
  if (connection.lost) return "The server does not answer. It is asked again until it does.";
  return e.rawMessage.charAt(0).toUpperCase() + e.rawMessage.slice(1);
}

/** All items of a paged list, at most `most`. */
export async function all<T>(page: (token: string) => Promise<{ items: T[]; next: string }>, most = 10_000): Promise<T[]> {
  const list: T[] = [];
  for (let token = ""; ; ) {
    const { items, next } = await page(token);
    list.push(...items);
    if (!next || list.length >= most) return list;
    token = next;
  }
}

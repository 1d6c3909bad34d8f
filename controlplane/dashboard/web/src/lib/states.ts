// States as people read them, and how they look.
import { FileState } from "../gen/shoplake/v1/source_pb";
import { HealthStatus, WorkerState } from "../gen/shoplake/v1/health_pb";
import { ErrorClass, RunState, StageState, TaskState, Trigger } from "../gen/shoplake/v1/run_pb";

export type Look = "good" | "warn" | "bad" | "accent" | "";

const words = (name: string | undefined) => {
  if (name === "BUG") return "Fault of the pipeline";
  const text = (name ?? "").toLowerCase().replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

export const runState = (s: RunState) => words(RunState[s]);
export const stageState = (s: StageState) => words(StageState[s]);
export const taskState = (s: TaskState) => words(TaskState[s]);
export const errorClass = (c: ErrorClass) => words(ErrorClass[c]);
export const trigger = (t: Trigger) => words(Trigger[t]);
export const fileState = (s: FileState) => words(FileState[s]);
export const workerState = (s: WorkerState) => words(WorkerState[s]);
export const healthStatus = (s: HealthStatus) => (s === HealthStatus.OK ? "Everything works" : s === HealthStatus.DEGRADED ? "Somebody should look" : "Down");

export function runLook(s: RunState): Look {
  if (s === RunState.SUCCEEDED) return "good";
  if (s === RunState.FAILED) return "bad";
  if (s === RunState.CANCELLED || s === RunState.CANCELLING) return "warn";
  return s === RunState.RUNNING ? "accent" : "";
}

export function stageLook(s: StageState): Look {
  switch (s) {
    case StageState.SUCCEEDED:
      return "good";
    case StageState.FAILED:
      return "bad";
    case StageState.BLOCKED:
    case StageState.CANCELLED:
      return "warn";
    case StageState.RUNNING:
    case StageState.CHECKING:
    case StageState.COMMITTING:
      return "accent";
  }
  return "";
}

export function taskLook(s: TaskState): Look {
  if (s === TaskState.SUCCEEDED) return "good";
  if (s === TaskState.FAILED) return "bad";
  if (s === TaskState.CANCELLED) return "warn";
  return s === TaskState.RUNNING ? "accent" : "";
}

export function fileLook(s: FileState): Look {
  if (s === FileState.INGESTED) return "good";
  if (s === FileState.UNREADABLE) return "bad";
  return s === FileState.CHANGED || s === FileState.GONE ? "warn" : "accent";
}

/** The last part of a resource's name. */
export const id = (name: string) => name.slice(name.lastIndexOf("/") + 1);
/** A ULID by its random end, which differs where the beginning is the same minute's. */
export const short = (name: string) => `…${id(name).slice(-8)}`;

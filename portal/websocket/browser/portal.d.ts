/** Types of portal.js. */

export interface Position { epoch: string; offset: number }
export interface PortalEvent<T = unknown> extends Position { data: T; key: string | null }
/** Events that this subscriber does not get; `count` is null if it is not known. */
export interface Gap { count: number | null; reason: "dropped" | "trimmed" | "latest" | "epoch" }
export type State = "idle" | "connecting" | "open" | "waiting" | "closed";

export class PortalError extends Error {
  readonly code: string;
  readonly retryable: boolean;
  /** Whether the function that was called ran, or may have. */
  readonly mayHaveExecuted: boolean;
  readonly data: Record<string, unknown>;
}

export interface CallOptions {
  /** Milliseconds; 0 for no limit. */
  timeout?: number;
  signal?: AbortSignal;
  /** Whether the call may be sent once more after a lost connection. */
  idempotent?: boolean;
}

export interface StreamOptions {
  /** Milliseconds for all items; 0 for no limit. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface SubscribeOptions<T = unknown> {
  params?: Record<string, unknown>;
  /** The position of an earlier subscription, after which this one goes on. */
  from?: Position;
  onEvent?(event: PortalEvent<T>): void;
  onGap?(gap: Gap): void;
  /** Gets the state of the topic when the subscription begins, if the topic has one. */
  onSnapshot?(snapshot: unknown): void;
  /** Gets null when the subscription was closed or its topic removed. Without it, errors are written to the console. */
  onEnd?(error: PortalError | null): void;
}

export class Subscription<T = unknown> {
  readonly topic: string;
  readonly closed: boolean;
  /** The last event, or where the subscription began. */
  readonly position: Position | null;
  /** Resolves when the server has confirmed the subscription. */
  readonly ready: Promise<this>;
  close(): void;
}

export interface PortalOptions {
  /** Milliseconds for a call; 30,000 by default. */
  timeout?: number;
  /** A bearer token, for a portal with late_credentials=True. */
  token?: string;
  onState?(state: State, old: State): void;
  /** A class like the browser's WebSocket, such as that of the package ws. */
  WebSocket?: unknown;
}

export class Portal {
  constructor(url: string, options?: PortalOptions);
  readonly url: string;
  readonly state: State;
  onstate: ((state: State, old: State) => void) | null;
  call<T = unknown>(method: string, params?: Record<string, unknown> | unknown[], options?: CallOptions): Promise<T>;
  /** Leaving the loop cancels the call. A lost connection ends the stream with an error. */
  stream<T = unknown>(method: string, params?: Record<string, unknown> | unknown[], options?: StreamOptions): AsyncGenerator<T, void, void>;
  subscribe<T = unknown>(topic: string, options?: SubscribeOptions<T>): Subscription<T>;
  publish(topic: string, data: unknown, options?: CallOptions & { key?: string }): Promise<Position>;
  close(): void;
}

export function connect(url: string, options?: PortalOptions): Portal;

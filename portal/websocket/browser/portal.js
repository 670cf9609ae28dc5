/* Call functions and subscribe to topics of a WebSocketPortal, from a page or from Node. Types: portal.d.ts.

     import { connect } from "/portal.js";
     const portal = connect("ws://127.0.0.1:8080/ws");
     await portal.call("add", { a: 1, b: 2 });
     for await (const row of portal.stream("rows")) console.log(row);
     const ticks = portal.subscribe("ticks", { onEvent: (event) => console.log(event.data) });
     await portal.publish("ticks", 3);

   The connection comes back by itself. A call in flight gets its one response if the server is the same. A subscription
   goes on after its last event, and what it missed is a gap. */

const FIRST_BACKOFF = 100, MAX_BACKOFF = 30_000, STABLE = 5_000;  // milliseconds
const OPEN = 1;  // the state of a WebSocket
const CREDIT = 64;  // items of a stream that may wait for the page
const FORBIDDEN = 4403;  // the close code after which coming back makes no sense

/** An error of the server or of the connection. */
export class PortalError extends Error {
  constructor(message, data = {}) {
    super(message);
    this.name = "PortalError";
    this.code = data.code ?? "portal_error";
    this.retryable = data.retryable ?? false;
    this.mayHaveExecuted = data.delivery === "unknown" || data.delivery === "executed";
    this.data = data;
  }
}

const lost = (sent) => new PortalError(
  sent ? "lost the connection; the call may have been executed" : "there is no connection",
  { code: "transport_error", delivery: sent ? "unknown" : "not_sent", retryable: !sent });

/** The events of one topic; made by Portal.subscribe. */
export class Subscription {
  constructor(portal, topic, options) {
    Object.assign(this, { portal, topic, options, id: null, closed: false });
    this.position = options.from ?? null;
    this.ready = new Promise((resolve, reject) => { this._resolve = resolve; this._reject = reject; });
    this.ready.catch(() => {});
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.portal._subscriptions.delete(this);
    if (this.id !== null) this.portal._notify("rpc.unsubscribe", { subscription: this.id });
  }

  _request() {
    const params = { topic: this.topic };
    if (this.options.params !== undefined) params.params = this.options.params;
    if (this.position) params.from = this.position;
    return params;
  }

  _began(result) {
    this.id = result.subscription;
    if (!this.position) this.position = { epoch: result.epoch, offset: result.offset };
    if ("snapshot" in result) this.options.onSnapshot?.(result.snapshot);
    this._resolve(this);
  }

  _event({ epoch, offset, data, key }) {
    if (this.position?.epoch === epoch && offset <= this.position.offset) return;  // it came before the reconnect
    this.position = { epoch, offset };
    this.options.onEvent?.({ data, epoch, offset, key: key ?? null });
  }

  _gap({ count, reason, epoch, offset }) {
    if (epoch !== undefined && offset !== undefined) this.position = { epoch, offset };
    this.options.onGap?.({ count: count ?? null, reason });
  }

  _end(error) {
    this.closed = true;
    this.portal._subscriptions.delete(this);
    this._reject(error ?? new PortalError("the subscription has ended"));
    if (this.options.onEnd) this.options.onEnd(error ?? null);
    else if (error) console.error(`the subscription to ${this.topic} has ended: ${error.message}`);
  }
}

/** One connection to a portal; it connects when there is something to send. */
export class Portal {
  constructor(url, options = {}) {
    this.url = url;
    this.state = "idle";  // idle, connecting, open, waiting, closed
    this.onstate = options.onState ?? null;
    this._token = options.token ?? null;
    this._timeout = options.timeout ?? 30_000;
    this._WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this._subscriptions = new Set();
    this._calls = new Map();  // by id: not answered yet
    this._nextId = 1;
    this._session = null;
    this._backoff = FIRST_BACKOFF;
    this._socket = null;
  }

  /** Call a function; the result is JSON data. */
  call(method, params = {}, options = {}) {
    return this._start({ method, params }, options);
  }

  /** Call a streaming function when the result is iterated, and yield its items. Leaving the loop cancels the call. */
  async *stream(method, params = {}, { timeout, signal } = {}) {
    const items = [];
    let wake = () => {}, end = null, taken = 0;
    const call = { method, params, credit: CREDIT, onItem: (item) => { items.push(item); wake(); } };
    this._start(call, { timeout, signal }).then(() => { end = {}; wake(); }, (error) => { end = { error }; wake(); });
    try {
      for (;;) {
        while (items.length) {
          if (++taken === CREDIT / 2) {
            taken = 0;
            this._notify("rpc.credit", { id: call.id, items: CREDIT / 2 });
          }
          yield items.shift();
        }
        if (end?.error) throw end.error;
        if (end) return;
        await new Promise((resolve) => { wake = resolve; });
      }
    } finally {
      if (!end) call.end(new PortalError("the stream was left", { code: "cancelled" }));
    }
  }

  _start(call, { timeout = this._timeout, signal, idempotent = false }) {
    return new Promise((resolve, reject) => {
      if (this.state === "closed") return reject(new PortalError("the client is closed", { delivery: "not_sent" }));
      const { method } = Object.assign(call, { id: this._nextId++, idempotent, sent: false, resolve, reject });
      const end = call.end = (error) => {
        if (!this._finish(call, error)) return;
        if (call.sent) this._notify("rpc.cancel", { id: call.id });
      };
      if (signal?.aborted) return reject(signal.reason);
      signal?.addEventListener("abort", () => end(signal.reason), { once: true });
      if (timeout) {
        call.deadline = Date.now() + timeout;
        call.timer = setTimeout(() => end(new PortalError(`no response from ${method} in time`,
          { code: "timeout", delivery: call.sent ? "unknown" : "not_sent" })), timeout);
      }
      this._calls.set(call.id, call);
      if (this.state === "open") this._sendCall(call); else this._connect();
    });
  }

  /** Subscribe to a topic; the callbacks get what comes. */
  subscribe(topic, options = {}) {
    const subscription = new Subscription(this, topic, options);
    this._subscriptions.add(subscription);
    if (this.state === "open") this._begin(subscription); else this._connect();
    return subscription;
  }

  /** Publish data to a topic, where the server allows it. */
  publish(topic, data, { key, ...options } = {}) {
    return this.call("rpc.publish", key === undefined ? { topic, data } : { topic, data, key }, options);
  }

  /** Close the connection. Calls in flight fail. */
  close() {
    this._set("closed");
    clearTimeout(this._retry);
    for (const subscription of [...this._subscriptions]) subscription._end(null);
    for (const call of [...this._calls.values()]) this._finish(call, lost(call.sent));
    this._socket?.close(1000);
  }

  _set(state) {
    if (this.state === state || this.state === "closed") return;
    const old = this.state;
    this.state = state;
    this.onstate?.(state, old);
  }

  _finish(call, error, result) {
    if (!this._calls.delete(call.id)) return false;
    clearTimeout(call.timer);
    if (error) call.reject(error); else call.resolve(result);
    return true;
  }

  _connect() {
    if (this.state !== "idle" && this.state !== "waiting" || this._waits) return;
    this._set("connecting");
    const socket = this._socket = new this._WebSocket(this.url, ["jsonrpc-2.0"]);
    socket.onopen = () => this._opened(socket);
    socket.onmessage = ({ data }) => this._received(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this._lost(socket, code, reason);
    socket.onerror = () => {};  // "close" follows
  }

  async _opened(socket) {
    this._openedAt = Date.now();
    const internal = (method, params) => new Promise((resolve, reject) => {
      const call = { id: this._nextId++, method, params, sent: true, internal: true, resolve, reject };
      this._calls.set(call.id, call);
      this._write(call);
    });
    try {
      if (this._token) await internal("rpc.authenticate", { authorization: `Bearer ${this._token}` });
      const pending = [...this._calls.values()].filter((call) => call.sent && !call.internal);
      const found = this._session && pending.length
        ? await internal("rpc.resume", { session: this._session, pending: pending.map((call) => call.id) })
        : await internal("rpc.resume", {}).catch(() => ({}));  // a server without sessions
      if (socket !== this._socket) return;
      this._session = found.session ?? null;
      for (const call of pending) {
        if (!this._calls.has(call.id)) continue;
        if (found.resumed ? found.missing.includes(call.id) : call.idempotent) this._write(call);
        else if (!found.resumed) this._finish(call, lost(true));
      }
    } catch (error) {
      if (socket !== this._socket) return;
      this._failed = error;
      return socket.close(1000);
    }
    this._set("open");
    for (const subscription of this._subscriptions) this._begin(subscription);
    for (const call of this._calls.values()) if (!call.sent) this._sendCall(call);
  }

  _begin(subscription) {
    // Without a promise: events may follow the response in the same turn.
    const resolve = (result) => {
      if (!subscription.closed) subscription._began(result);
      else this._notify("rpc.unsubscribe", { subscription: result.subscription });
    };
    const reject = (error) => { if (error.code !== "transport_error") subscription._end(error); };
    const params = subscription._request();
    const call = { id: this._nextId++, method: "rpc.subscribe", params, internal: true, resolve, reject };
    this._calls.set(call.id, call);
    this._sendCall(call);
  }

  _sendCall(call) {
    call.sent = true;
    this._write(call);
  }

  _write({ id, method, params, deadline, credit }) {
    const meta = {};
    if (credit) meta.credit = credit;
    if (deadline) meta.timeout = Math.max(0, deadline - Date.now());
    if (this._session) meta.pending = this._calls.keys().next().value;  // the server forgets the responses before it
    this._socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params, meta }));
  }

  _notify(method, params) {
    if (this.state !== "open" || this._socket.readyState !== OPEN) return;  // closing: "close" follows
    this._socket.send(JSON.stringify({ jsonrpc: "2.0", method, params }));
  }

  _received(message) {
    if (Array.isArray(message)) return message.forEach((one) => this._received(one));
    const { method, params, id } = message;
    if (method === undefined) {
      const call = this._calls.get(id);
      if (!call) return;
      const error = message.error && new PortalError(message.error.message, message.error.data);
      this._finish(call, error, message.result);
    } else if (id !== undefined && id !== null) {
      const error = { code: -32601, message: "this client publishes no functions" };
      this._socket.send(JSON.stringify({ jsonrpc: "2.0", id, error }));
    } else if (method === "rpc.item") {
      const call = this._calls.get(params?.id);
      if (call?.onItem) call.onItem(params.data);
      else call?.end?.(new PortalError(`${call.method} is a stream; use stream in place of call`, { code: "protocol_error" }));
    } else {
      const subscription = [...this._subscriptions].find((one) => one.id === params?.subscription);
      if (method === "rpc.event") subscription?._event(params);
      else if (method === "rpc.gap") subscription?._gap(params);
      else if (method === "rpc.complete") {
        subscription?._end(params.error ? new PortalError(params.error.message, params.error.data) : null);
      }
    }
  }

  _lost(socket, code, reason) {
    if (socket !== this._socket) return;
    this._socket = null;
    for (const call of [...this._calls.values()]) {
      if (call.internal || (call.onItem && call.sent)) this._finish(call, lost(true));
      else if (call.sent && !this._session && !call.idempotent) this._finish(call, lost(true));
      else if (call.sent && !this._session) call.sent = false;
    }
    for (const subscription of this._subscriptions) subscription.id = null;
    const final = this._failed ?? (code === FORBIDDEN ? new PortalError(reason, { code: "forbidden" }) : null);
    this._failed = null;
    if (final) {
      for (const subscription of [...this._subscriptions]) subscription._end(final);
      for (const call of [...this._calls.values()]) this._finish(call, final);
    }
    if (this._openedAt && Date.now() - this._openedAt > STABLE) this._backoff = FIRST_BACKOFF;
    this._openedAt = null;
    if (this.state === "closed") return;
    if (!this._calls.size && !this._subscriptions.size) return this._set("idle");
    this._set("waiting");
    this._waits = true;
    this._retry = setTimeout(() => { this._waits = false; this._connect(); }, Math.random() * this._backoff);
    this._backoff = Math.min(MAX_BACKOFF, this._backoff * 2);
  }
}

/** Return a client of the portal at an address; it connects on first use. */
export const connect = (url, options) => new Portal(url, options);

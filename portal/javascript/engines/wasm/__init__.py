"""The engine quickjs-wasm: QuickJS inside WebAssembly, which isolates it within this process."""

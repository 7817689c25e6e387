# workerd's configuration for empty-worker.js. The object stores nothing, so its storage may be in memory.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "empty", worker = .empty)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "empty")],
);

const empty :Workerd.Worker = (
  modules = [(name = "empty-worker.js", esModule = embed "empty-worker.js")],
  compatibilityDate = "2026-06-01",
  bindings = [(name = "EMPTY", durableObjectNamespace = "Empty")],
  durableObjectNamespaces = [(className = "Empty", uniqueKey = "bench-empty", enableSql = true)],
  durableObjectStorage = (inMemory = void),
);

// A holder's line to the authority: a TCP relay on loopback that can be cut, so that what runs behind it loses its network
// and nothing else. Invariant: while it is cut no byte passes, and connections from before never come back.
// Called by holders.ts.
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface Line {
  /** Where the holder reaches the authority. */
  readonly url: string;
  /** Ends all connections, and new ones at once, until `mend`. */
  cut(): void;
  mend(): void;
  close(): Promise<void>;
}

export async function openLine(authorityUrl: string): Promise<Line> {
  const target = new URL(authorityUrl);
  const sockets = new Set<Socket>();
  let isCut = false;
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // Whoever is at the other end notices; there is nothing to be told here.
    socket.on("error", () => undefined);
  };
  const server = createServer((near) => {
    keep(near);
    if (isCut) {
      near.resetAndDestroy();
      return;
    }
    const far = connect(Number(target.port), target.hostname);
    keep(far);
    near.pipe(far).pipe(near);
    near.once("close", () => far.destroy());
    far.once("close", () => near.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a relay listens on a port");
  const endAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${address.port}`,
    cut: () => {
      isCut = true;
      endAll();
    },
    mend: () => {
      isCut = false;
    },
    close: async () => {
      server.close();
      endAll();
      await once(server, "close");
    },
  };
}

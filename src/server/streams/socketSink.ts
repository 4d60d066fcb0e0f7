import type { WebSocket } from '@fastify/websocket';

/** What is sent at once, in bytes; longer messages go in several frames. */
export const pieceBytes = 64 << 10;

/**
 * The sending side of a WebSocket: knows how much the reader has not taken yet, and lets whoever has something to say
 * come one after another, and only when there is room.
 */
export class SocketSink {
  private readonly socket: WebSocket;
  private readonly limitBytes: number;
  private inFlight = 0;
  /** When the reader has last taken something, or had nothing to take. */
  private takenAt = performance.now();
  private busy = false;
  private readonly turns: (() => void)[] = [];
  private readonly pieces: { data: Buffer; end: boolean }[] = [];
  private writingPiece = false;
  private closed = false;

  constructor(socket: WebSocket, limitBytes: number) {
    this.socket = socket;
    this.limitBytes = limitBytes;
    socket.on('close', () => {
      this.closed = true;
      this.pieces.length = 0;
      for (const turn of this.turns.splice(0)) turn();
    });
  }

  /** Never waits: for what is small, or has its turn. */
  send(data: Buffer): void {
    if (this.closed) return;
    if (this.inFlight === 0) this.takenAt = performance.now();
    this.inFlight += data.length;
    if (this.pieces.length === 0 && data.length <= pieceBytes) {
      this.write(data, true);
      return;
    }
    for (let at = 0; at < data.length; at += pieceBytes)
      this.pieces.push({ data: data.subarray(at, at + pieceBytes), end: at + pieceBytes >= data.length });
    this.next();
  }

  /** A long message goes in pieces, one after the other, so that it shows whether the reader takes any of it. */
  private next(): void {
    const [piece] = this.pieces;
    if (this.writingPiece || piece === undefined) return;
    this.writingPiece = true;
    this.write(piece.data, piece.end, () => {
      this.writingPiece = false;
      this.pieces.shift();
      this.next();
    });
  }

  private write(data: Buffer, end: boolean, then?: () => void): void {
    this.socket.send(data, { binary: false, fin: end }, () => {
      this.inFlight -= data.length;
      this.takenAt = performance.now();
      then?.();
      this.grant();
    });
  }

  /** Resolves when there is room and nobody else's turn, to what ends the turn; also when the socket is closed. */
  turn(): Promise<() => void> {
    return new Promise((resolve) => {
      let over = false;
      const end = (): void => {
        if (over) return;
        over = true;
        this.busy = false;
        this.grant();
      };
      const begin = (): void => resolve(end);
      if (this.closed) begin();
      else {
        this.turns.push(begin);
        this.grant();
      }
    });
  }

  /** For how long the reader has taken nothing of what waits for it, in milliseconds. */
  stalledMs(): number {
    return this.inFlight === 0 ? 0 : performance.now() - this.takenAt;
  }

  private grant(): void {
    if (this.busy || this.closed || this.inFlight >= this.limitBytes) return;
    const turn = this.turns.shift();
    if (turn === undefined) return;
    this.busy = true;
    turn();
  }
}

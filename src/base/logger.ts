/** Where diagnostics go: VS Code's LogOutputChannel has this shape, and so has the terminal's. */
export interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

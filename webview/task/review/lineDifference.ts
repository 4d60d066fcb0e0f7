/** Where two lines differ, when they have enough in common for that to say anything. */
export function difference(text: string, other: string): { from: number; to: number } | undefined {
  const shorter = Math.min(text.length, other.length);
  let head = 0;
  while (head < shorter && text[head] === other[head]) head += 1;
  let tail = 0;
  while (tail < shorter - head && text[text.length - 1 - tail] === other[other.length - 1 - tail]) tail += 1;
  if (head + tail < Math.max(text.length, other.length) * 0.3) return undefined;
  return head === text.length - tail ? undefined : { from: head, to: text.length - tail };
}

import { svg, type TemplateResult, html } from 'lit';

const shapes = {
  check: svg`<path d="M3.5 8.5l3 3 6-7"/>`,
  cross: svg`<path d="M4 4l8 8M12 4l-8 8"/>`,
  commit: svg`<circle cx="8" cy="8" r="2.5"/><path d="M1.5 8h4M10.5 8h4"/>`,
  chevron: svg`<path d="M6 3.5L10.5 8 6 12.5"/>`,
  shield: svg`<path d="M8 1.8l5 1.9v4.1c0 3-2 5.2-5 6.4-3-1.2-5-3.4-5-6.4V3.7z"/><path d="M5.8 8l1.6 1.6 3-3.2"/>`,
  warning: svg`<path d="M8 2.2L14.4 13.5H1.6z"/><path d="M8 6.5v3.2M8 11.4v.4"/>`,
  info: svg`<circle cx="8" cy="8" r="6"/><path d="M8 7.4v3.6M8 4.9v.4"/>`,
  tool: svg`<path d="M3 4l4 4-4 4M8.5 12H13"/>`,
  thought: svg`<circle cx="4" cy="8" r=".8"/><circle cx="8" cy="8" r=".8"/><circle cx="12" cy="8" r=".8"/>`,
  person: svg`<circle cx="8" cy="5.2" r="2.7"/><path d="M2.8 14c.4-3 2.5-4.6 5.2-4.6s4.8 1.6 5.2 4.6"/>`,
  spark: svg`<path d="M8 1.8l1.5 4.7L14.2 8l-4.7 1.5L8 14.2 6.5 9.5 1.8 8l4.7-1.5z"/>`,
  gear: svg`<circle cx="8" cy="8" r="2.2"/><path d="M8 1.8v2.4M8 11.8v2.4M1.8 8h2.4M11.8 8h2.4M3.6 3.6l1.7 1.7M10.7 10.7l1.7 1.7M12.4 3.6l-1.7 1.7M5.3 10.7l-1.7 1.7"/>`,
  down: svg`<path d="M8 2.5v10M4 8.8l4 4 4-4"/>`,
  up: svg`<path d="M8 13.5v-10M4 7.2l4-4 4 4"/>`,
  search: svg`<circle cx="7" cy="7" r="4.2"/><path d="M10.2 10.2L14 14"/>`,
  globe: svg`<circle cx="8" cy="8" r="6"/><path d="M2 8h12M8 2c2 1.7 2.8 3.8 2.8 6S10 12.3 8 14c-2-1.7-2.8-3.8-2.8-6S6 3.7 8 2z"/>`,
  clock: svg`<circle cx="8" cy="8" r="6"/><path d="M8 4.6V8l2.4 1.6"/>`,
  blocked: svg`<circle cx="8" cy="8" r="6"/><path d="M3.8 3.8l8.4 8.4"/>`,
  pause: svg`<path d="M5.5 3.5v9M10.5 3.5v9"/>`,
  export: svg`<path d="M8 10V2.5M4.8 5.5L8 2.3l3.2 3.2M2.5 9.5v4h11v-4"/>`,
  list: svg`<path d="M2.5 4h.4M2.5 8h.4M2.5 12h.4M5.8 4h7.7M5.8 8h7.7M5.8 12h7.7"/>`,
  plus: svg`<path d="M8 3v10M3 8h10"/>`,
  key: svg`<circle cx="5" cy="11" r="2.8"/><path d="M7 9l6-6M11 5l2 2M9.2 6.8l1.4 1.4"/>`,
  people: svg`<circle cx="6" cy="5.5" r="2.4"/><path d="M1.5 13.5c.3-2.8 2.1-4.2 4.5-4.2s4.2 1.4 4.5 4.2"/><path d="M10.5 3.4a2.3 2.3 0 0 1 0 4.3M12 9.6c1.5.5 2.4 1.8 2.6 3.9"/>`,
  server: svg`<rect x="2.5" y="2.8" width="11" height="4.4" rx="1"/><rect x="2.5" y="8.8" width="11" height="4.4" rx="1"/><path d="M5 5h.4M5 11h.4"/>`,
  half: svg`<circle cx="8" cy="8" r="5.5"/><path d="M8 2.5v11"/><path d="M8 5h3.6M8 8h5.2M8 11h3.6"/>`,
  undo: svg`<path d="M5.5 3L2.5 6l3 3"/><path d="M2.5 6h6.8a3.7 3.7 0 0 1 0 7.4H6.5"/>`,
  comment: svg`<path d="M2.5 3h11v8H7l-3 2.6V11H2.5z"/>`,
  open: svg`<path d="M7 3.5H3v9.5h9.5V9"/><path d="M9.5 2.5h4v4M13.3 2.7L7.5 8.5"/>`,
  image: svg`<rect x="2" y="3" width="12" height="10" rx="1"/><path d="M2.5 11.5l3.5-4 3 3 2-2 3 3"/><circle cx="10.5" cy="6" r="1"/>`,
  send: svg`<path d="M2 8l12-5.5L10.5 14 8 9z"/>`,
  unfold: svg`<path d="M8 6V2M5.8 3.8L8 1.8l2.2 2M8 10v4M5.8 12.2l2.2 2 2.2-2M2 8h12"/>`,
  branch: svg`<circle cx="4.5" cy="3.5" r="1.5"/><circle cx="4.5" cy="12.5" r="1.5"/><circle cx="11.5" cy="12.5" r="1.5"/><path d="M4.5 5v6M11.5 11V7.5a2.5 2.5 0 0 0-2.5-2.5H7.5M9 3.2L7.2 5 9 6.8"/>`,
  merge: svg`<circle cx="4.5" cy="3.5" r="1.5"/><circle cx="4.5" cy="12.5" r="1.5"/><circle cx="11.5" cy="8" r="1.5"/><path d="M4.5 5v6M4.5 5c0 2 2 3 5.5 3"/>`,
  flag: svg`<path d="M4 14V2.5h8l-2 3 2 3H4"/>`,
  stop: svg`<rect x="4" y="4" width="8" height="8" rx="1"/>`,
} as const;

export type IconName = keyof typeof shapes;

/** A decoration: what it means also stands in words. */
export function icon(name: IconName, classes = ''): TemplateResult {
  return html`<svg class="icon ${classes}" viewBox="0 0 16 16" aria-hidden="true">${shapes[name]}</svg>`;
}

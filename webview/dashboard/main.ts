import './theme.css';
import '../task/task.css';
import '../task/review/review.css';
import './dashboard.css';
import '../components.ts';
import { LedgerTab } from '../task/ledgerTab.ts';
import { ReviewTab } from '../task/review/reviewTab.ts';
import { TalkBox } from '../task/talkBox.ts';
import { AccountPage, AuditPage, TokensPage, UsersPage } from './accountPages.ts';
import { Dashboard } from './app.ts';
import { ConnectPage, SetupPage, SigninPage } from './entryPages.ts';
import { NewPage } from './newPage.ts';
import { registerWorker } from './registerWorker.ts';
import { DashboardPanel, OneTaskPage } from './taskPage.ts';
import { TasksPage } from './tasksPage.ts';

/** The panel looks at the editor's classes to know how bright it is. */
const light = matchMedia('(prefers-color-scheme: light)');
const showTheme = (): void => {
  document.body.classList.toggle('vscode-light', light.matches);
  document.body.classList.toggle('vscode-dark', !light.matches);
};
light.addEventListener('change', showTheme);
showTheme();

const elements: Readonly<Record<string, CustomElementConstructor>> = {
  'sallyport-ledger': LedgerTab,
  'sallyport-review': ReviewTab,
  'sallyport-talk': TalkBox,
  'sallyport-task': DashboardPanel,
  'sallyport-setup': SetupPage,
  'sallyport-signin': SigninPage,
  'sallyport-connect': ConnectPage,
  'sallyport-tasks': TasksPage,
  'sallyport-new': NewPage,
  'sallyport-one-task': OneTaskPage,
  'sallyport-tokens': TokensPage,
  'sallyport-account': AccountPage,
  'sallyport-users': UsersPage,
  'sallyport-audit': AuditPage,
  'sallyport-dashboard': Dashboard,
};
for (const [name, element] of Object.entries(elements)) customElements.define(name, element);
registerWorker();

import './task.css';
import '../components.ts';
import { TaskPage } from './app.ts';
import { LedgerTab } from './ledgerTab.ts';

customElements.define('sallyport-ledger', LedgerTab);
customElements.define('sallyport-task', TaskPage);

import './task.css';
import '../components.ts';
import { vsCodeHost } from '../shared/vsCodeHost.ts';
import { TaskPage } from './app.ts';
import { LedgerTab } from './ledgerTab.ts';
import type { Saved } from './saved.ts';

class PanelPage extends TaskPage {
  constructor() {
    super(vsCodeHost<Saved>());
  }
}

customElements.define('sallyport-ledger', LedgerTab);
customElements.define('sallyport-task', PanelPage);

import './task.css';
import '../components.ts';
import { vsCodeHost } from '../shared/host.ts';
import { type Saved, TaskPage } from './app.ts';
import { LedgerTab } from './ledgerTab.ts';

class PanelPage extends TaskPage {
  constructor() {
    super(vsCodeHost<Saved>());
  }
}

customElements.define('sallyport-ledger', LedgerTab);
customElements.define('sallyport-task', PanelPage);

import './task.css';
import './review/review.css';
import '../components.ts';
import { vsCodeHost } from '../shared/vsCodeHost.ts';
import { TaskPage } from './app.ts';
import { LedgerTab } from './ledgerTab.ts';
import { ReviewTab } from './review/reviewTab.ts';
import type { Saved } from './saved.ts';
import { TalkBox } from './talkBox.ts';

class PanelPage extends TaskPage {
  constructor() {
    super(vsCodeHost<Saved>());
  }
}

customElements.define('sallyport-ledger', LedgerTab);
customElements.define('sallyport-review', ReviewTab);
customElements.define('sallyport-talk', TalkBox);
customElements.define('sallyport-task', PanelPage);

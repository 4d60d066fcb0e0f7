import './task.css';
import '../components.ts';
import { TaskPage } from './app.ts';

customElements.define('sallyport-task', TaskPage);

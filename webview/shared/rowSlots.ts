/**
 * Which node of the page shows which row. A row that stays keeps its node; a row that comes in takes that of one that
 * leaves, so that a list in motion changes texts instead of making and throwing away nodes.
 */
export class RowSlots {
  private slots: number[] = [];
  private first = 0;
  private next = 0;

  /**
   * The slots of the rows `first` to `last`, no two the same.
   * @param retired row whose node is not given to another one, such as for the focus in it
   */
  assign(first: number, last: number, retired?: number): readonly number[] {
    const kept = (index: number): boolean => index >= first && index <= last;
    const free: number[] = [];
    this.slots.forEach((slot, at) => {
      const index = this.first + at;
      if (!kept(index) && index !== retired) free.push(slot);
    });
    let taken = 0;
    const slots: number[] = [];
    for (let index = first; index <= last; index++) {
      slots.push(this.slots[index - this.first] ?? free[taken++] ?? this.next++);
    }
    this.slots = slots;
    this.first = first;
    return slots;
  }
}

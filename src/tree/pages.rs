//! Numbered slots in pages that are copied when they are written while an image shares them.

use triomphe::Arc;

const PAGE_SLOTS: usize = 256;
const GROUP_PAGES: usize = 64;
/// Neighbours, always in one page: see [`Pages::row_mut`].
pub(super) const ROW_SLOTS: u32 = 4;

type Page<T> = [T; PAGE_SLOTS];
/// Pages are counted in groups, so that an image of a million nodes is 62 reference counts and not 3907: the rest is
/// paid by the first write into each group.
type Group<T> = [Arc<Page<T>>; GROUP_PAGES];

/// Slots by number. An image shares all pages; a page is copied when it is written while an image has it.
#[derive(Clone)]
pub(super) struct Pages<T> {
    groups: Vec<Arc<Group<T>>>,
    /// Slots that were ever used.
    slots: u32,
    /// Those of them that are free again. Empty in an image, which nothing is added to.
    free: Vec<u32>,
    /// Nothing but defaults; a group begins with this page in every place, and the first write into a place copies it.
    free_page: Arc<Page<T>>,
}

impl<T: Clone + Default> Pages<T> {
    pub fn new() -> Pages<T> {
        let free_page = Arc::new(std::array::from_fn(|_| T::default()));
        Pages { groups: Vec::new(), slots: 0, free: Vec::new(), free_page }
    }

    #[inline]
    pub fn get(&self, slot: u32) -> &T {
        let slot = slot as usize;
        &self.groups[slot / (PAGE_SLOTS * GROUP_PAGES)][slot / PAGE_SLOTS % GROUP_PAGES][slot % PAGE_SLOTS]
    }

    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> &mut T {
        &mut self.page_mut(slot)[slot as usize % PAGE_SLOTS]
    }

    /// The slots from the last multiple of [`ROW_SLOTS`], this one among them.
    pub fn row_mut(&mut self, slot: u32) -> &mut [T; ROW_SLOTS as usize] {
        let first = (slot - slot % ROW_SLOTS) as usize % PAGE_SLOTS;
        self.page_mut(slot)[first..].first_chunk_mut().expect("a page is made of rows")
    }

    /// How many slots were ever used.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    #[inline]
    fn page_mut(&mut self, slot: u32) -> &mut Page<T> {
        let page = slot as usize / PAGE_SLOTS;
        let group = Arc::make_mut(&mut self.groups[page / GROUP_PAGES]);
        Arc::make_mut(&mut group[page % GROUP_PAGES])
    }

    /// The same slots, to look at. Costs a reference count for every 16384 of them.
    pub fn image(&self) -> Pages<T> {
        let (groups, free_page) = (self.groups.clone(), self.free_page.clone());
        Pages { groups, slots: self.slots, free: Vec::new(), free_page }
    }

    /// Puts something into a free slot. `None` when there is no further number: `u32::MAX` is none.
    pub fn add(&mut self, value: T) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.further()?,
        };
        *self.get_mut(slot) = value;
        Some(slot)
    }

    /// Empties a slot.
    pub fn free(&mut self, slot: u32) {
        *self.get_mut(slot) = T::default();
        self.free.push(slot);
    }

    /// A slot that was never used.
    fn further(&mut self) -> Option<u32> {
        let slot = self.slots;
        if slot == u32::MAX {
            return None;
        }
        if slot as usize == self.groups.len() * PAGE_SLOTS * GROUP_PAGES {
            self.groups.push(Arc::new(std::array::from_fn(|_| self.free_page.clone())));
        }
        self.slots += 1;
        Some(slot)
    }
}

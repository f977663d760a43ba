//! An allocator that ends the program where one input takes more memory than it may: libFuzzer's own limit needs a sanitizer.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    process::abort,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Counts what is allocated.
pub struct Bounded;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Runs `body` with `most` bytes beside those that are in use already.
pub fn within(most: usize, body: impl FnOnce()) {
    MOST.store(USED.load(Ordering::Relaxed).saturating_add(most), Ordering::Relaxed);
    body();
    MOST.store(usize::MAX, Ordering::Relaxed);
}

fn count(size: usize) {
    let used = USED.fetch_add(size, Ordering::Relaxed) + size;
    let most = MOST.load(Ordering::Relaxed);
    if used > most {
        MOST.store(usize::MAX, Ordering::Relaxed); // the words below need some too
        eprintln!("this input takes more memory than it may: {size} bytes more, and {} too many", used - most);
        abort();
    }
}

// SAFETY: the system's allocator does all the work; only numbers are kept beside it.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(place, layout, size) }
    }
}

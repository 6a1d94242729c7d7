//! The file system as the kernel asks for it. Nothing is cached by the kernel: every read and write comes here.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::content::PAGE_BYTES;
use crate::volume::{About, Outcome, Volume};

/// How long the kernel may believe what it was told.
const TTL: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);
const HANDLE: FileHandle = FileHandle(0);
/// What a volume without a limit tells as its size, pages.
const ENDLESS_PAGES: u64 = 1 << 28;

/// A volume, mounted.
#[derive(Debug)]
pub struct Mounted {
    /// shared with the control socket
    pub volume: Arc<Mutex<Volume>>,
}

impl Mounted {
    fn volume(&self) -> MutexGuard<'_, Volume> {
        self.volume.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn errno(code: i32) -> Errno {
    Errno::from_i32(code)
}

fn attributes(about: &About) -> FileAttr {
    let (kind, perm) =
        if about.is_folder { (FileType::Directory, 0o755) } else { (FileType::RegularFile, 0o644) };
    FileAttr {
        ino: INodeNo(about.node),
        size: about.len,
        blocks: about.pages * 8,
        atime: about.changed,
        mtime: about.changed,
        ctime: about.changed,
        crtime: about.changed,
        kind,
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: PAGE_BYTES as u32,
        flags: 0,
    }
}

fn entry(reply: ReplyEntry, result: Outcome<About>) {
    match result {
        Ok(about) => reply.entry(&TTL, &attributes(&about), GENERATION),
        Err(code) => reply.error(errno(code)),
    }
}

fn empty(reply: ReplyEmpty, result: Outcome<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(code) => reply.error(errno(code)),
    }
}

impl Mounted {
    /// Answers when the sync is over; a slow one keeps nobody else waiting.
    fn sync(&self, node: INodeNo, reply: ReplyEmpty) {
        let mut volume = self.volume();
        let delay = volume.sync_delay();
        if delay.is_zero() {
            return empty(reply, volume.sync(node.0));
        }
        let shared = Arc::clone(&self.volume);
        std::thread::spawn(move || {
            #[expect(clippy::disallowed_methods, reason = "a slow disk is what this plays")]
            std::thread::sleep(delay);
            let result = shared.lock().unwrap_or_else(PoisonError::into_inner).sync(node.0);
            empty(reply, result);
        });
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.volume().lookup(parent.0, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.volume().about(ino.0) {
            Ok(about) => reply.attr(&TTL, &attributes(&about)),
            Err(code) => reply.error(errno(code)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut volume = self.volume();
        let result = size.map_or(Ok(()), |len| volume.set_len(ino.0, len));
        match result.and_then(|()| volume.about(ino.0)) {
            Ok(about) => reply.attr(&TTL, &attributes(&about)),
            Err(code) => reply.error(errno(code)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        entry(reply, self.volume().make(parent.0, name, true));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.volume().remove(parent.0, name, false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.volume().remove(parent.0, name, true));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        empty(reply, self.volume().rename((parent.0, name), (new_parent.0, new_name)));
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.volume().open(ino.0) {
            Ok(()) => reply.opened(HANDLE, FopenFlags::FOPEN_DIRECT_IO),
            Err(code) => reply.error(errno(code)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut volume = self.volume();
        let made = volume.make(parent.0, name, false);
        match made.and_then(|about| volume.open(about.node).map(|()| about)) {
            Ok(about) => {
                reply.created(&TTL, &attributes(&about), GENERATION, HANDLE, FopenFlags::FOPEN_DIRECT_IO)
            }
            Err(code) => reply.error(errno(code)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.volume().read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(code) => reply.error(errno(code)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.volume().write(ino.0, offset, data, flags.0 & libc::O_DIRECT != 0) {
            Ok(()) => reply.written(data.len() as u32),
            Err(code) => reply.error(errno(code)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        empty(reply, self.volume().release(ino.0));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino, reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.volume().list(ino.0) {
            Ok(list) => {
                for (index, (name, about)) in list.into_iter().enumerate().skip(offset as usize) {
                    let kind = attributes(&about).kind;
                    if reply.add(INodeNo(about.node), index as u64 + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(code) => reply.error(errno(code)),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (used, max) = self.volume().room();
        let all = max.unwrap_or(ENDLESS_PAGES).max(used);
        let page = PAGE_BYTES as u32;
        reply.statfs(all, all - used, all - used, 1 << 20, 1 << 20, page, 255, page);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }
}

//! What every adapter must do; called by each adapter's tests.

use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStoreExt as _, PutMode, PutPayload, WriteMultipart};

use super::{BlobError, ObjectStore, copy, delete, get, put, size};

/// Objects of a long list: more than adapters delete in one request.
const MANY: usize = 300;
/// Requests at one time, for the long list.
const AT_ONCE: usize = 32;
/// Writers of one object at one time.
const WRITERS: u8 = 12;
/// Bytes of each part of a stream, and of its last one.
const PARTS: [usize; 3] = [1 << 20, 1 << 20, 12_345];

/// Checks a store that holds nothing below `conformance`.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(store: &ObjectStore) -> Result<(), String> {
    whole(store).await?;
    ranges(store).await?;
    conditions(store).await?;
    parts(store).await?;
    copies(store).await?;
    writers(store).await?;
    lists(store).await
}

fn ensure(held: bool, what: &str) -> Result<(), String> {
    if held { Ok(()) } else { Err(what.to_owned()) }
}

fn text(error: impl Into<BlobError>) -> String {
    error.into().to_string()
}

async fn whole(store: &ObjectStore) -> Result<(), String> {
    let key = "conformance/a b/ä.txt";
    put(store, key, Bytes::from_static(b"0123456789")).await.map_err(text)?;
    ensure(get(store, key).await.map_err(text)? == "0123456789", "a stored object reads back")?;
    ensure(size(store, key).await.map_err(text)? == Some(10), "its size is told")?;
    put(store, key, Bytes::from_static(b"new")).await.map_err(text)?;
    ensure(get(store, key).await.map_err(text)? == "new", "an object can be replaced")?;
    put(store, "conformance/empty", Bytes::new()).await.map_err(text)?;
    ensure(size(store, "conformance/empty").await.map_err(text)? == Some(0), "an object may be empty")?;
    ensure(get(store, "conformance/empty").await.map_err(text)?.is_empty(), "an empty object reads as nothing")?;
    let missing = get(store, "conformance/missing").await;
    ensure(missing.is_err_and(|e| e.is_not_found()), "a missing object is told as not found")?;
    ensure(size(store, "conformance/missing").await.map_err(text)?.is_none(), "a missing object has no size")?;
    for key in [key, key, "conformance/empty"] {
        delete(store, key).await.map_err(text)?;
    }
    ensure(size(store, key).await.map_err(text)?.is_none(), "a deleted object is gone")
}

async fn ranges(store: &ObjectStore) -> Result<(), String> {
    let key = Path::from("conformance/range");
    store.put(&key, PutPayload::from_static(b"0123456789")).await.map_err(text)?;
    for (range, expected) in [
        (GetRange::Bounded(3..6), "345"),
        (GetRange::Bounded(0..1), "0"),
        (GetRange::Bounded(7..100), "789"),
        (GetRange::Offset(8), "89"),
    ] {
        let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
        let found = store.get_opts(&key, options).await.map_err(text)?;
        ensure(found.meta.size == 10, "a part tells the size of the whole")?;
        let bytes = found.bytes().await.map_err(text)?;
        ensure(bytes == expected, &format!("{range:?} reads its bytes only"))?;
    }
    store.delete(&key).await.map_err(text)
}

async fn conditions(store: &ObjectStore) -> Result<(), String> {
    let key = Path::from("conformance/once");
    let makers = (0..WRITERS).map(|i| {
        let key = key.clone();
        async move { (i, store.put_opts(&key, PutPayload::from(vec![i]), PutMode::Create.into()).await) }
    });
    let mut made = Vec::new();
    for (i, outcome) in join_all(makers).await {
        match outcome {
            Ok(_) => made.push(i),
            Err(Error::AlreadyExists { .. }) => {}
            Err(e) => return Err(text(e)),
        }
    }
    ensure(made.len() == 1, "of those who make an object at once, one does and the others are told")?;
    let bytes = store.get(&key).await.map_err(text)?.bytes().await.map_err(text)?;
    ensure(*bytes == *made, "what the one made is what is there")?;
    let options = GetOptions { if_none_match: tag(store, &key).await?, ..GetOptions::default() };
    let same = store.get_opts(&key, options).await;
    ensure(matches!(same, Err(Error::NotModified { .. })), "an object with a known tag is not read again")?;
    let options = GetOptions { if_match: Some("\"other\"".to_owned()), ..GetOptions::default() };
    let other = store.get_opts(&key, options).await;
    ensure(matches!(other, Err(Error::Precondition { .. })), "an object with another tag is not read for this one")?;
    store.delete(&key).await.map_err(text)
}

async fn tag(store: &ObjectStore, key: &Path) -> Result<Option<String>, String> {
    Ok(store.head(key).await.map_err(text)?.e_tag)
}

async fn parts(store: &ObjectStore) -> Result<(), String> {
    let key = Path::from("conformance/stream");
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&key).await.map_err(text)?, PARTS[0]);
    for (number, length) in (b'a'..).zip(PARTS) {
        upload.wait_for_capacity(2).await.map_err(text)?;
        upload.put(vec![number; length].into());
    }
    ensure(store.head(&key).await.is_err(), "an object that is sent in parts is not there before the end")?;
    upload.finish().await.map_err(text)?;
    let found = store.get(&key).await.map_err(text)?;
    let all = PARTS.iter().sum::<usize>() as u64;
    ensure(found.meta.size == all, "it has the bytes of all parts")?;
    let edge = PARTS[0] as u64;
    let border = store.get_range(&key, edge - 2..edge + 2).await.map_err(text)?;
    ensure(border == "aabb", "in their order")?;
    let again = WriteMultipart::new_with_chunk_size(store.put_multipart(&key).await.map_err(text)?, PARTS[0]);
    again.abort().await.map_err(text)?;
    let kept = store.head(&key).await.map_err(text)?.size;
    ensure(kept == all, "one that is given up changes nothing")?;
    store.delete(&key).await.map_err(text)
}

async fn copies(store: &ObjectStore) -> Result<(), String> {
    let (from, to) = ("conformance/from/x y", "conformance/to/x y");
    put(store, from, Bytes::from_static(b"first")).await.map_err(text)?;
    copy(store, from, to).await.map_err(text)?;
    put(store, from, Bytes::from_static(b"second")).await.map_err(text)?;
    ensure(get(store, to).await.map_err(text)? == "first", "a copy does not change with what it was made of")?;
    copy(store, from, to).await.map_err(text)?;
    ensure(get(store, to).await.map_err(text)? == "first", "a copy replaces nothing")?;
    delete(store, from).await.map_err(text)?;
    ensure(get(store, to).await.map_err(text)? == "first", "a copy outlives what it was made of")?;
    let missing = copy(store, from, "conformance/to/other").await;
    ensure(missing.is_err_and(|e| e.is_not_found()), "a copy of nothing is told as not found")?;
    delete(store, to).await.map_err(text)
}

async fn writers(store: &ObjectStore) -> Result<(), String> {
    let key = "conformance/contested";
    let writers = (0..WRITERS).map(|i| put(store, key, vec![i; 100_000].into()));
    let readers = (0..WRITERS).map(|_| get(store, key));
    let (written, read) = futures::join!(join_all(writers), join_all(readers));
    for outcome in written {
        outcome.map_err(text)?;
    }
    for bytes in read.into_iter().chain([get(store, key).await]) {
        match bytes {
            Ok(bytes) => {
                let first = bytes.first().copied().unwrap_or_default();
                let one = bytes.len() == 100_000 && bytes.iter().all(|byte| *byte == first);
                ensure(one, "who reads while others write gets what one of them wrote")?;
            }
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(text(e)),
        }
    }
    delete(store, key).await.map_err(text)
}

async fn lists(store: &ObjectStore) -> Result<(), String> {
    let key = |i: usize| format!("conformance/list/{:02x}/{i}", i % 7);
    let puts = (0..MANY).map(|i| async move { put(store, &key(i), Bytes::from_static(b"x")).await });
    let () = stream::iter(puts).buffer_unordered(AT_ONCE).try_collect().await.map_err(text)?;
    put(store, "conformance/listed", Bytes::from_static(b"x")).await.map_err(text)?;
    let all = list(store, "conformance/list").await?;
    ensure(all.len() == MANY, "a prefix lists all objects below it, and none whose name only begins like it")?;
    let some = list(store, "conformance/list/03").await?.len();
    ensure(some == (0..MANY).filter(|i| i % 7 == 3).count(), "a deeper prefix lists those below it")?;
    ensure(list(store, "conformance/nothing").await?.is_empty(), "a prefix of nothing lists nothing")?;
    let folders = store.list_with_delimiter(Some(&Path::from("conformance/list"))).await.map_err(text)?;
    ensure(folders.common_prefixes.len() == 7 && folders.objects.is_empty(), "folders are told")?;
    let paths = stream::iter(all.into_iter().map(Ok)).boxed();
    let deleted: Vec<_> = store.delete_stream(paths).try_collect().await.map_err(text)?;
    ensure(deleted.len() == MANY, "many are deleted at once")?;
    delete(store, "conformance/listed").await.map_err(text)?;
    ensure(list(store, "conformance").await?.is_empty(), "nothing is left")
}

async fn list(store: &ObjectStore, prefix: &str) -> Result<Vec<Path>, String> {
    store.list(Some(&Path::from(prefix))).map_ok(|meta| meta.location).try_collect().await.map_err(text)
}

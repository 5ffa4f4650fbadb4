//! Passwords as they are kept: by the configuration, or in a file of `htpasswd`.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Most rounds that one check may take; a line that wants more fits no password.
const MAX_ROUNDS: u32 = 10_000_000;
/// The dearest bcrypt that is checked: some seconds.
const MAX_BCRYPT_COST: u32 = 16;

/// Whether `password` is the one that `kept` is made of. What names no scheme is the password itself, as for Buildbot.
pub(crate) fn is(kept: &str, password: &[u8]) -> bool {
    if let Some(rest) = kept.strip_prefix("pbkdf2-sha256$") {
        return pbkdf2(rest, password).unwrap_or(false);
    }
    if let Some(hash) = kept.strip_prefix("{SHA}") {
        return same(STANDARD.encode(Sha1::digest(password)).as_bytes(), hash.as_bytes());
    }
    for magic in ["$apr1$", "$1$"] {
        if let Some(rest) = kept.strip_prefix(magic) {
            let salt = rest.split('$').next().unwrap_or_default();
            return same(md5_crypt(magic, salt, password).as_bytes(), kept.as_bytes());
        }
    }
    match kept.strip_prefix('$') {
        Some(rest) if rest.starts_with('2') => {
            let cost = rest.split('$').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or(u32::MAX);
            cost <= MAX_BCRYPT_COST && bcrypt::verify(password, kept).unwrap_or(false)
        }
        Some(rest) if rest.starts_with("5$") || rest.starts_with("6$") => sha_crypt(kept, rest, password),
        // A scheme that nobody knows here; its text is no password.
        Some(rest) if rest.contains('$') => false,
        _ => same(kept.as_bytes(), password),
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

fn pbkdf2(kept: &str, password: &[u8]) -> Option<bool> {
    let mut parts = kept.split('$');
    let rounds: u32 = parts.next()?.parse().ok().filter(|rounds| (1..=MAX_ROUNDS).contains(rounds))?;
    let (salt, key) = (STANDARD.decode(parts.next()?).ok()?, STANDARD.decode(parts.next()?).ok()?);
    let mac = Hmac::<Sha256>::new_from_slice(password).ok()?;
    let next = |text: &[u8]| {
        let mut mac = mac.clone();
        mac.update(text);
        mac.finalize().into_bytes()
    };
    let mut block = next(&[salt.as_slice(), &[0, 0, 0, 1]].concat());
    let mut sum = block;
    for _ in 1..rounds {
        block = next(&block);
        sum.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    Some(same(&sum, &key))
}

fn sha_crypt(kept: &str, rest: &str, password: &[u8]) -> bool {
    let rounds = rest.split('$').find_map(|part| part.strip_prefix("rounds="));
    if rounds.is_some_and(|rounds| rounds.parse::<u32>().map_or(true, |rounds| rounds > MAX_ROUNDS)) {
        return false;
    }
    use sha_crypt::PasswordVerifier;
    sha_crypt::ShaCrypt::default().verify_password(password, kept).is_ok()
}

/// The MD5 scheme of FreeBSD's `crypt`, which Apache uses under a name of its own.
fn md5_crypt(magic: &str, salt: &str, password: &[u8]) -> String {
    let salt: String = salt.chars().take(8).collect();
    let inner = Md5::digest([password, salt.as_bytes(), password].concat());
    let mut text = [password, magic.as_bytes(), salt.as_bytes()].concat();
    text.extend(inner.iter().cycle().take(password.len()));
    let mut bits = password.len();
    while bits > 0 {
        text.push(if bits & 1 == 1 { 0 } else { password.first().copied().unwrap_or(0) });
        bits >>= 1;
    }
    let mut sum = Md5::digest(&text);
    for round in 0..1_000 {
        let mut text = Vec::new();
        text.extend_from_slice(if round % 2 == 1 { password } else { &sum });
        if round % 3 != 0 {
            text.extend_from_slice(salt.as_bytes());
        }
        if round % 7 != 0 {
            text.extend_from_slice(password);
        }
        text.extend_from_slice(if round % 2 == 1 { &sum } else { password });
        sum = Md5::digest(&text);
    }
    let mut shown = format!("{magic}{salt}$");
    let triples = [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)];
    for (a, b, c) in triples {
        letters(&mut shown, u32::from(sum[a]) << 16 | u32::from(sum[b]) << 8 | u32::from(sum[c]), 4);
    }
    letters(&mut shown, u32::from(sum[11]), 2);
    shown
}

fn letters(shown: &mut String, mut bits: u32, count: usize) {
    const LETTERS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..count {
        shown.push(char::from(LETTERS[(bits & 63) as usize]));
        bits >>= 6;
    }
}

/// What a file of `htpasswd` has for a user; lines that are none are skipped.
pub(crate) fn of_user<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    let lines = file.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(':')).find(|(known, _)| *known == name).map(|(_, rest)| {
        // Some programs keep more fields behind.
        rest.split(':').next().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_knows_its_password() {
        for (kept, password) in
            include_str!("../../tests/htpasswd.txt").lines().filter_map(|line| line.split_once(' '))
        {
            assert!(is(kept, password.as_bytes()), "{kept} {password}");
            assert!(!is(kept, b"wrong") && !is(kept, b""), "{kept}");
            assert!(kept == password || !is(kept, kept.as_bytes()), "{kept} is not its own password");
        }
    }

    #[test]
    fn broken_lines_fit_nothing() {
        for kept in [
            "$apr1$",
            "$2y$",
            "$2y$99$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "$5$",
            "$6$rounds=4000000000$a$b",
            "$9$x$y",
            "{SHA}",
            "pbkdf2-sha256$0$AA==$AA==",
            "pbkdf2-sha256$4000000000$AA==$AA==",
            "pbkdf2-sha256$x",
        ] {
            assert!(!is(kept, b"") && !is(kept, b"x"), "{kept}");
        }
        let file = "# ann:no\nbroken\n\nann:first:more\nann:second\n:x\n";
        assert_eq!(
            (of_user(file, "ann"), of_user(file, "# ann"), of_user(file, "bob")),
            (Some("first"), None, None)
        );
    }
}

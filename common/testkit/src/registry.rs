//! A registry of the tests' own: Debian's `docker-registry`, open, or with tokens of an issuer in this process.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::Url;

use crate::keeper::{Keeper, Stop};
use crate::ports;

/// The user whom the issuer knows, and its password.
pub const USER: (&str, &str) = ("deployer", "p@ss:word");
/// What the registry and its issuer call each other.
const SERVICE: &str = "test-registry";
const ISSUER: &str = "test-issuer";

/// A running registry.
pub struct Registry {
    keeper: Keeper,
    port: u16,
    tokens: Arc<AtomicUsize>,
}

impl Registry {
    /// A registry that lets everybody do everything.
    #[must_use]
    pub fn start() -> Self {
        Self::with(|_| String::new())
    }

    /// A registry that wants a token of the issuer, which gives them to [`USER`].
    #[must_use]
    pub fn with_tokens() -> Self {
        let tokens = Arc::new(AtomicUsize::new(0));
        let counted = tokens.clone();
        let mut registry = Self::with(|folder| {
            let realm = issuer(folder, counted);
            let bundle = folder.join("issuer.pem").display().to_string();
            format!(
                "auth:\n  token:\n    realm: {realm}\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {bundle}\n"
            )
        });
        registry.tokens = tokens;
        registry
    }

    /// A registry that wants a password, and knows [`USER`].
    ///
    /// # Panics
    /// When the file of passwords can't be written.
    #[must_use]
    pub fn with_password() -> Self {
        Self::with(|folder| {
            let file = folder.join("htpasswd");
            // Of the password above, by bcrypt at its lowest cost.
            std::fs::write(&file, format!("{}:{}\n", USER.0, PASSWORD_HASH)).unwrap();
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display())
        })
    }

    fn with(auth: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let [port] = ports::free();
        let auth = auth(&folder);
        let data = folder.join("data").display().to_string();
        // A fixed secret: uploads outlive a restart.
        let settings = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {data}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: test\n{auth}"
        );
        std::fs::write(folder.join("config.yml"), settings).unwrap();
        let mut server = Command::new("docker-registry");
        server.arg("serve").arg(folder.join("config.yml"));
        let registry = Self { keeper: Keeper::start(folder, &server, Stop::Term), port, tokens: Arc::default() };
        registry.answers();
        registry
    }

    /// Host and port, as images' references begin.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where its data lie.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.keeper.folder().join("data")
    }

    /// How many tokens the issuer has given.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens.load(Ordering::SeqCst)
    }

    /// Kills it; what it has acknowledged stays.
    pub fn kill(&self) {
        self.keeper.kill();
    }

    /// Starts it again.
    pub fn begin(&self) {
        self.keeper.begin();
        self.answers();
    }

    /// Halts it: connections stay, and nothing is answered.
    pub fn pause(&self) {
        self.keeper.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.keeper.resume();
    }

    fn answers(&self) {
        self.keeper.wait_for_port(self.port);
    }
}

/// Bcrypt of the password of [`USER`].
const PASSWORD_HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2S3.bOEDhecFtOKV69UhK64PtUN1I6G";

/// Starts an issuer of tokens and writes its certificate into the folder; returns its address.
fn issuer(folder: &Path, given: Arc<AtomicUsize>) -> Url {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![ISSUER.to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("issuer.pem"), certificate.pem()).unwrap();
    let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
    let x5c = STANDARD.encode(certificate.der());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/token", listener.local_addr().unwrap())).unwrap();
    let base = url.clone();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &base, &signer, &x5c, &given);
        }
    });
    url
}

fn answer(
    mut stream: TcpStream,
    base: &Url,
    signer: &EcdsaKeyPair,
    x5c: &str,
    given: &AtomicUsize,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let url = base.join(head.split(' ').nth(1).unwrap_or_default()).unwrap();
    let login =
        head.lines().find_map(|line| line.to_lowercase().starts_with("authorization: basic ").then(|| &line[21..]));
    let known = format!("{}:{}", USER.0, USER.1);
    let body = if login.is_some_and(|login| STANDARD.decode(login).is_ok_and(|login| login == known.as_bytes())) {
        given.fetch_add(1, Ordering::SeqCst);
        let scopes = url.query_pairs().filter(|(name, _)| name == "scope").map(|(_, value)| value.into_owned());
        json!({ "token": token(signer, x5c, scopes), "expires_in": 300 }).to_string()
    } else {
        String::new()
    };
    let status = if body.is_empty() { "401 Unauthorized" } else { "200 OK" };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn token(signer: &EcdsaKeyPair, x5c: &str, scopes: impl Iterator<Item = String>) -> String {
    let access: Vec<Value> = scopes
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            Some(json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let head = json!({ "typ": "JWT", "alg": "ES256", "x5c": [x5c] });
    let claims = json!({
        "iss": ISSUER, "sub": USER.0, "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + 300,
        "jti": format!("{:016x}", rand::random::<u64>()), "access": access,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&head), part(&claims));
    let signature = signer.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

//! How long a configuration of 10,000 clients takes to load, in each of its spellings, and how long an edit of it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, criterion_group, criterion_main};
use portunus_config::{FileError, Files, NewClient, Secrecy, native, openme};
use portunus_crypto::Secret;
use portunus_crypto::ed25519::SigningKey;
use portunus_model::ClientName;

const CLIENTS: u32 = 10_000;

struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path, _: Secrecy) -> Result<String, FileError> {
        self.0.get(path).cloned().ok_or(FileError::Missing)
    }

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
        Ok(self.0.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }
}

fn client(n: u32) -> Option<NewClient> {
    let mut seed = [0; 32];
    seed.iter_mut().zip(n.to_le_bytes()).for_each(|(to, from)| *to = from);
    let key = *SigningKey::new(&Secret::from_bytes(seed)).ok()?.public();
    let mut client = NewClient::new(ClientName::new(&format!("client-{n}")).ok()?, key);
    client.services = vec!["ssh".to_owned(), "8080/tcp".to_owned()];
    Some(client)
}

fn base() -> Memory {
    let init = native::Init {
        host: "home.example.org".to_owned(),
        port: 54154,
        firewall: portunus_config::FirewallKind::Auto,
        place: None,
        interfaces: Vec::new(),
        dialects: Vec::new(),
    };
    let mut files = Memory(BTreeMap::new());
    files.0.insert("/p/portunus.toml".into(), native::server_text(&init));
    files.0.insert("/p/services.toml".into(), native::services_text());
    let key = Secret::from_bytes([3; 32]);
    files.0.insert("/p/keys/openme.key".into(), native::key_text(&key).to_string());
    files
}

/// One client a file, all in one file, and openme's YAML.
fn spellings() -> (Memory, Memory, Memory) {
    let (mut folder, mut one, mut yaml) = (base(), base(), Memory(BTreeMap::new()));
    let private = Secret::from_bytes([3; 32]).to_base64();
    let mut table = String::new();
    let mut text =
        format!("server:\n    private_key: {}\nports:\n    ssh:\n        - 22/tcp\nclients:\n", &*private);
    for client in (0..CLIENTS).filter_map(client) {
        let key = portunus_crypto::text::encode(&client.key);
        let body =
            format!("dialect = \"openme\"\npublic_key = \"{key}\"\nservices = [\"ssh\", \"8080/tcp\"]\n");
        table.push_str(&format!("[{}]\n{body}\n", client.name));
        text.push_str(&format!(
            "    {}:\n        ed25519_pubkey: {key}\n        allowed_ports:\n            - ssh\n            - 8080/tcp\n",
            client.name
        ));
        folder.0.insert(format!("/p/clients/{}.toml", client.name).into(), body);
    }
    one.0.insert("/p/clients.toml".into(), table);
    yaml.0.insert("/c.yaml".into(), text);
    (folder, one, yaml)
}

fn loads(criterion: &mut Criterion) {
    let (folder, one, yaml) = spellings();
    let mut group = criterion.benchmark_group("load 10,000 clients");
    group.sample_size(10);
    for (name, files) in [("clients/NAME.toml", &folder), ("clients.toml", &one)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let settings = native::load(files, Path::new("/p"));
                assert!(settings.is_ok_and(|settings| settings.rules.clients.len() == CLIENTS as usize));
            });
        });
    }
    group.bench_function("openme's YAML", |bencher| {
        bencher.iter(|| {
            let settings = openme::load(&yaml, Path::new("/c.yaml"));
            assert!(settings.is_ok_and(|settings| settings.rules.clients.len() == CLIENTS as usize));
        });
    });
    group.finish();
    edits(criterion, &one, &yaml);
}

fn edits(criterion: &mut Criterion, one: &Memory, yaml: &Memory) {
    let mut group = criterion.benchmark_group("one client more among 10,000");
    group.sample_size(10);
    let Some(new) = client(CLIENTS + 1) else { return };
    group.bench_function("clients.toml", |bencher| {
        bencher.iter(|| black_box(native::add_client(one, Path::new("/p"), &new).is_ok()));
    });
    let text = yaml.0.values().next().cloned().unwrap_or_default();
    group.bench_function("openme's YAML", |bencher| {
        bencher.iter(|| black_box(openme::add_client(&text, Path::new("/c.yaml"), &new).is_ok()));
    });
    group.finish();
}

criterion_group!(benches, loads);
criterion_main!(benches);

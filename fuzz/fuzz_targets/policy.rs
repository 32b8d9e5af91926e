//! Policies and the keys of witnesses from text; and who is trusted by one.
//!
//! The first byte says which witnesses have cosigned.

#![no_main]

use libfuzzer_sys::fuzz_target;
use runstone_fuzz::Input;
use runstone_fuzz::evidence::{WITNESSES, checkpoint, signer, witness};
use runstone_receipt::Policy;
use runstone_receipt::note::CosignerKey;
use runstone_receipt::policy::{MAX_POLICY_LINES, Threshold};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let cosigned = input.byte();
    if let Ok(text) = std::str::from_utf8(input.0)
        && let Ok(key) = text.parse::<CosignerKey>()
    {
        assert_eq!(key.to_string(), text);
        assert_eq!(
            CosignerKey::new(key.name(), &key.public_key()).as_ref(),
            Ok(&key)
        );
    }
    let Ok(policy) = Policy::parse(input.0) else {
        return;
    };
    let written = policy.to_text();
    let again = Policy::parse(written.as_bytes());
    assert_eq!(again.as_ref(), Ok(&policy));
    let lines = [
        policy.logs().len(),
        policy.witnesses().len(),
        policy.groups().len(),
    ];
    assert!(lines.into_iter().all(|count| count <= MAX_POLICY_LINES));
    let note = checkpoint(&[[9; 32]; 3], cosigned);
    let key = signer().vkey();
    let is_log = policy.logs().iter().any(|log| *log.key() == key);
    let known = (0..WITNESSES).filter(|number| cosigned >> number & 1 == 1);
    let known: Vec<_> = known.map(|number| witness(number).key().clone()).collect();
    let quorum = policy.quorum_name();
    let is_trusted = is_log && quorum.is_none_or(|quorum| counts(&policy, quorum, &known));
    assert_eq!(policy.verify_checkpoint(&note, None).is_ok(), is_trusted);
    let elsewhere = policy.verify_checkpoint(&note, Some("example.com/other"));
    assert!(elsewhere.is_err());
});

/// What the specification says of a witness or group, by its definition.
fn counts(policy: &Policy, name: &str, known: &[CosignerKey]) -> bool {
    if let Some(one) = policy.witnesses().iter().find(|one| one.name() == name) {
        return known.contains(one.key());
    }
    let group = policy.groups().iter().find(|group| group.name() == name);
    let group = group.expect("a policy names what it has defined");
    let members = group.members().iter();
    let met = members.filter(|name| counts(policy, name, known)).count();
    met >= match group.threshold() {
        Threshold::Any => 1,
        Threshold::All => group.members().len(),
        Threshold::Number(number) => number,
    }
}

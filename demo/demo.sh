#!/usr/bin/env bash
# The story of a cluster that is sealed under a key its owner holds, with the unmodified AWS CLI and psql. Every step
# prints the command as a user types it, and its real output. Needs root (or sudo): it mounts volumes.
# `make demo` installs and builds what this needs.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ]; then
    exec sudo -E "$0" "$@"
fi

repository=$PWD
export PATH=${STRONGROOM_BIN_DIR:-$repository/target/release}:$repository/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin
work=$(mktemp -d /var/tmp/strongroom-demo.XXXXXX)
export STRONGROOM_HOME=$work/home
# Any free port, so that a server that runs already is not in the way.
export STRONGROOM_LISTEN=127.0.0.1:0
# The user's own settings of the AWS CLI stay out of it, and as they are.
export AWS_CONFIG_FILE=$work/aws-config
unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL
cd "$work"

if [ -t 1 ]; then bold=$'\e[1m' blue=$'\e[34m' plain=$'\e[0m'; else bold='' blue='' plain=''; fi

clean_up() {
    status=$?
    trap - EXIT
    if [ "$status" != 0 ]; then
        printf '\n%sThe demo failed.%s The end of the server'\''s log:\n' "$bold" "$plain" >&2
        tail -n 20 "$work/serve.log" >&2 || true
    fi
    strongroom stop --instances >/dev/null 2>&1 || true
    cd /
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

step() {
    printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

note() {
    printf '%s# %s%s\n' "$blue" "$*" "$plain"
}

# Shows a command and runs it in this shell.
run() {
    printf '%s$ %s%s\n' "$bold" "$*" "$plain"
    eval "$*"
}

# Shows a command that has to be refused, and what it is told.
refused() {
    printf '%s$ %s%s\n' "$bold" "$*" "$plain"
    if eval "$*" 2>&1; then
        note 'This should have been refused.'
        exit 1
    fi
}

step '1. A home, a server, a client'
run 'strongroom init --account-id 111122223333'
run 'strongroom serve 2>serve.log &'
for _ in $(seq 100); do [ -s "$STRONGROOM_HOME/run/endpoint" ] && break; sleep 0.1; done
run 'eval "$(strongroom env)"'
run 'aws sts get-caller-identity'

step '2. A key, and a database administrator who cannot use it himself'
run 'key=$(aws kms create-key --description "Orders database" --query KeyMetadata.KeyId --output text)'
run 'aws kms create-alias --alias-name alias/orders --target-key-id "$key"'
cat >dba-policy.json <<'POLICY'
{
  "Version": "2012-10-17",
  "Statement": [
    { "Effect": "Allow", "Action": "rds:*", "Resource": "*" },
    { "Effect": "Allow", "Action": ["kms:CreateGrant", "kms:DescribeKey"], "Resource": "*",
      "Condition": { "StringEquals": { "kms:ViaService": "rds.us-west-2.amazonaws.com" } } }
  ]
}
POLICY
run 'cat dba-policy.json'
run 'aws iam create-user --user-name dba --query User.Arn --output text'
run 'aws iam put-user-policy --user-name dba --policy-name databases --policy-document file://dba-policy.json'
run 'read -r id secret < <(aws iam create-access-key --user-name dba --query "AccessKey.[AccessKeyId,SecretAccessKey]" --output text)'
run 'printf "\n[dba]\naws_access_key_id = %s\naws_secret_access_key = %s\n" "$id" "$secret" >>"$AWS_SHARED_CREDENTIALS_FILE"'
unset secret
run 'export AWS_PROFILE=dba'
note 'The administrator of databases cannot use the key but through the database service:'
printf 'a secret' >plain.txt
refused 'aws kms encrypt --key-id alias/orders --plaintext fileb://plain.txt'

step '3. A cluster under that key'
head -c 18 /dev/urandom | base64 | tr -d '/+\n' >password
chmod 600 password
run 'aws rds create-db-cluster --db-cluster-identifier orders --engine aurora-postgresql \
    --storage-encrypted --kms-key-id alias/orders --database-name shop \
    --master-username app --master-user-password file://password \
    --query "DBCluster.[DBClusterIdentifier,Status,StorageEncrypted,KmsKeyId]" --output text'
run 'aws rds create-db-instance --db-instance-identifier orders-1 --db-cluster-identifier orders \
    --engine aurora-postgresql --db-instance-class db.r6g.large \
    --query "DBInstance.[DBInstanceIdentifier,DBInstanceStatus]" --output text'
run 'aws rds wait db-instance-available --db-instance-identifier orders-1'
run 'aws rds describe-db-clusters --db-cluster-identifier orders \
    --query "DBClusters[0].{Status:Status,Endpoint:Endpoint,Port:Port,Engine:EngineVersion}" --output table'

step '4. Rows, and some load'
run 'read -r PGHOST PGPORT < <(aws rds describe-db-clusters --db-cluster-identifier orders --query "DBClusters[0].[Endpoint,Port]" --output text)'
run 'export PGHOST PGPORT PGUSER=app PGDATABASE=shop PGSSLMODE=require PGPASSFILE=$PWD/pgpass'
printf '*:*:*:app:%s\n' "$(cat password)" >pgpass
chmod 600 pgpass
marker=MARKER-$(head -c 8 /dev/urandom | xxd -p)
run "psql -c \"CREATE TABLE customers (id int PRIMARY KEY, name text)\""
run "psql -c \"INSERT INTO customers SELECT n, '$marker ' || n FROM generate_series(1, 20000) n\""
run 'psql -c "SELECT count(*), min(name) FROM customers"'
run 'pgbench --initialize --quiet --scale 5 2>&1 | tail -n 1'
run 'pgbench --client 4 --jobs 2 --time 5 2>&1 | grep -E "tps|latency average|failed"'

step '5. What the disk shows'
run 'psql --quiet -c CHECKPOINT'
run 'sync; du -sh "$STRONGROOM_HOME"/* | sed "s|$STRONGROOM_HOME/||"'
note "Every file of volume, state, trail and everything else, searched for $marker:"
refused "grep --recursive --text --files-with-matches $marker \"\$STRONGROOM_HOME\""
note 'None. That the search works is seen where the volume is open: in the mount namespace of the instance.'
instance=$(pgrep -f "instance --dir $STRONGROOM_HOME")
database=$(basename "$STRONGROOM_HOME"/instances/db-*)
run "nsenter --target $instance --mount \\
    grep --recursive --text --files-with-matches $marker /run/strongroom/$database/mount | sed -n 1,3p"
segment=$(find "$STRONGROOM_HOME"/volumes -type f -path '*segments*' | sort | head -n 1)
note "A sealed segment, from its middle (${segment#"$STRONGROOM_HOME"/}):"
run "xxd -s 1048576 -l 160 ${segment/$STRONGROOM_HOME/\$STRONGROOM_HOME}"
note 'Sealed bytes do not compress:'
run "head -c 8M ${segment/$STRONGROOM_HOME/\$STRONGROOM_HOME} | gzip | wc -c"

step '6. Who used the key, when, for which database'
run 'export AWS_PROFILE=default'
arn=$(aws kms describe-key --key-id alias/orders --query KeyMetadata.Arn --output text)
run 'aws configure set cli_timestamp_format iso8601'
run "aws cloudtrail lookup-events --lookup-attributes AttributeKey=ResourceName,AttributeValue=$arn \\
    --query 'Events[].[EventTime,EventName,Username]' --output text"
note 'The whole record of the last use of the key:'
run "aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=Decrypt --max-results 1 \\
    --query 'Events[0].CloudTrailEvent' --output text | python3 -m json.tool"
run 'strongroom why alias/orders'

step '7. The owner takes the key away'
note 'Before: the process of the instance, its postgres, its mount and loop device.'
run "pgrep --list-full --full $database | cut -c 1-140"
run "grep -F $database /proc/$instance/mounts"
run "losetup --list --noheadings | grep -F $database"
begun=$(date +%s%N)
run 'aws kms disable-key --key-id "$key"'
returned=$(date +%s%N)
while psql -c 'SELECT 1' >/dev/null 2>&1; do
    [ $(( ($(date +%s%N) - begun) / 1000000 )) -lt 30000 ] || { note 'It still answers.'; exit 1; }
done
closed=$(date +%s%N)
while kill -0 "$instance" 2>/dev/null; do
    [ $(( ($(date +%s%N) - begun) / 1000000 )) -lt 30000 ] || { note 'The process is still there.'; exit 1; }
done
gone=$(date +%s%N)
milliseconds() { echo $(( ($1 - $2) / 1000000 )) ms; }
note "The CLI call took $(milliseconds "$returned" "$begun"); after it returned, connections were refused within" \
    "$(milliseconds "$closed" "$returned") (one psql start), and the process that held the key was gone within" \
    "$(milliseconds "$gone" "$returned")."
refused 'psql -c "SELECT 1"'
refused "pgrep --list-full --full $database"
refused "losetup --list --noheadings | grep -F $database"
refused "grep --no-messages -F $database /proc/*/mounts"
run 'aws rds describe-db-clusters --db-cluster-identifier orders --query "DBClusters[0].Status" --output text'
refused 'aws rds start-db-cluster --db-cluster-identifier orders'

step '8. The owner gives it back'
run 'aws kms enable-key --key-id "$key"'
run 'aws rds start-db-cluster --db-cluster-identifier orders --query DBCluster.Status --output text'
run 'aws rds wait db-cluster-available --db-cluster-identifier orders'
run 'psql -c "SELECT count(*), min(name) FROM customers"'

step '9. A snapshot, a mistake, a second cluster'
run 'aws rds create-db-cluster-snapshot --db-cluster-identifier orders --db-cluster-snapshot-identifier before \
    --query "DBClusterSnapshot.[DBClusterSnapshotIdentifier,Status,KmsKeyId]" --output text'
run 'aws rds wait db-cluster-snapshot-available --db-cluster-snapshot-identifier before'
run 'psql -c "DROP TABLE customers"'
refused 'psql -c "SELECT count(*) FROM customers"'
run 'aws rds restore-db-cluster-from-snapshot --db-cluster-identifier orders-again --engine aurora-postgresql \
    --snapshot-identifier before --query "DBCluster.[DBClusterIdentifier,Status]" --output text'
run 'aws rds create-db-instance --db-instance-identifier orders-again-1 --db-cluster-identifier orders-again \
    --engine aurora-postgresql --db-instance-class db.r6g.large --query DBInstance.DBInstanceStatus --output text'
run 'aws rds wait db-instance-available --db-instance-identifier orders-again-1'
run 'read -r PGHOST PGPORT < <(aws rds describe-db-clusters --db-cluster-identifier orders-again --query "DBClusters[0].[Endpoint,Port]" --output text)'
run 'psql -c "SELECT count(*), min(name) FROM customers"'

step '10. Encrypted without a key of your own'
run 'aws rds create-db-cluster --db-cluster-identifier plain --engine aurora-postgresql --storage-encrypted \
    --master-username app --master-user-password file://password --query DBCluster.KmsKeyId --output text'
run 'aws kms describe-key --key-id alias/aws/rds --query "KeyMetadata.[Arn,KeyManager,Description]" --output text'
refused 'aws kms disable-key --key-id "$(aws kms describe-key --key-id alias/aws/rds --query KeyMetadata.Arn --output text)"'

step 'Clean up'
databases=$(ls "$STRONGROOM_HOME"/instances | paste -s -d '|')
run 'strongroom stop --instances'
wait
note 'What is left: processes, mounts, loop devices, directories.'
refused "pgrep --list-full --full '$work|$databases'"
refused "grep --no-messages -E '$databases' /proc/*/mounts"
refused "losetup --list | grep -E '$databases'"
refused "ls /run/strongroom | grep -E '$databases'"
note 'Nothing. The files of the demo are removed as well.'

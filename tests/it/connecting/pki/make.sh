#!/bin/sh
# Makes the certificates of the tests of connecting, which are good for a hundred years and prove nothing
# to anybody. Run it in this folder to make them anew; needs openssl 3.
set -eu
rm -f ./*.pem
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ec() { openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$2" -out "$1.key.pem" 2>/dev/null; }


# name, subject, authority, extensions (lines; none: X.509 version 1)
issue() {
    openssl req -new -key "$1.key.pem" -subj "/CN=$2" -out "$work/csr"
    if [ -n "$4" ]; then
        printf '%b\n' "$4" > "$work/ext"
        openssl x509 -req -in "$work/csr" -CA "$3.pem" -CAkey "$3.key.pem" -CAcreateserial -CAserial "$work/serial" \
            -days 36500 -extfile "$work/ext" -out "$1.pem" 2>/dev/null
    else
        openssl x509 -req -in "$work/csr" -CA "$3.pem" -CAkey "$3.key.pem" -CAcreateserial -CAserial "$work/serial" \
            -days 36500 -out "$1.pem" 2>/dev/null
    fi
}

# The same within dates that are given.
issue_between() {
    openssl req -new -key "$1.key.pem" -subj "/CN=$2" -out "$work/csr"
    : > "$work/index"
    printf '[ca]\ndefault_ca=c\n[c]\ndatabase=%s/index\nnew_certs_dir=%s\nserial=%s/ca-serial\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n[e]\n%b\n' \
        "$work" "$work" "$work" "$4" > "$work/ca.cnf"
    echo 01 > "$work/ca-serial"
    openssl ca -batch -config "$work/ca.cnf" -extensions e -cert "$3.pem" -keyfile "$3.key.pem" -in "$work/csr" \
        -startdate "$5" -enddate "$6" -notext -out "$1.pem" 2>/dev/null
}

authority() {
    ec "$1" P-256
    printf '[req]\ndistinguished_name=d\n[d]\n[e]\nbasicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign,digitalSignature\n%b\n' "${2:-}" > "$work/cnf"
    openssl req -x509 -new -key "$1.key.pem" -subj "/CN=$1" -days 36500 -config "$work/cnf" -extensions e -out "$1.pem"
}

names='subjectAltName=DNS:localhost,DNS:api.test,IP:127.0.0.1,IP:::1,IP:0.0.0.0'
server="$names\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:false"
client='extendedKeyUsage=clientAuth\nbasicConstraints=critical,CA:false'

authority ca
authority other-ca
ec server P-256; issue server server ca "$server"
ec server-other P-256; issue server-other server other-ca "$server"
ec server-expired P-256; issue_between server-expired server ca "$server" 20200101000000Z 20210101000000Z
ec server-future P-256; issue_between server-future server ca "$server" 21000101000000Z 21010101000000Z
ec server-elsewhere P-256; issue server-elsewhere server ca 'subjectAltName=DNS:elsewhere.test,IP:192.0.2.7\nextendedKeyUsage=serverAuth'
ec server-cn P-256; issue server-cn localhost ca 'basicConstraints=critical,CA:false'
ec server-for-clients P-256; issue server-for-clients server ca "$names\nextendedKeyUsage=clientAuth"
ec server-v1 P-256; issue server-v1 localhost ca ''
ec server-p384 P-384; issue server-p384 server ca "$server"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out server-rsa.key.pem 2>/dev/null; issue server-rsa server ca "$server"
openssl genpkey -algorithm ED25519 -out server-ed25519.key.pem; issue server-ed25519 server ca "$server"
# Its own authority, and one that is trusted although it is none.
authority server-own "$names"
ec server-leaf P-256
printf '[req]\ndistinguished_name=d\n[d]\n[e]\nbasicConstraints=critical,CA:false\n%b\n' "$names" > "$work/cnf"
openssl req -x509 -new -key server-leaf.key.pem -subj /CN=leaf -days 36500 -config "$work/cnf" -extensions e -out server-leaf.pem
# An authority of version 1, and a server of an authority in between.
ec ca-v1 P-256
openssl req -new -key ca-v1.key.pem -subj /CN=ca-v1 -out "$work/csr"
openssl x509 -req -in "$work/csr" -signkey ca-v1.key.pem -days 36500 -out ca-v1.pem 2>/dev/null
ec server-of-v1 P-256; issue server-of-v1 server ca-v1 "$server"
ec between P-256; issue between between ca 'basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign'
ec server-between P-256; issue server-between server between "$server"
cat server-between.pem between.pem > server-chain.pem; cp server-between.key.pem server-chain.key.pem

ec client P-256; issue client client ca "$client"
openssl ec -in client.key.pem -out client-sec1.key.pem 2>/dev/null
openssl ecparam -name prime256v1 -out "$work/params"
cat "$work/params" client-sec1.key.pem > client-params.key.pem
cat client.key.pem client.pem > client-both.pem
sed 's/$/\r/' client.key.pem > client-crlf.key.pem
sed 's/$/\r/' client.pem > client-crlf.pem
openssl pkcs8 -topk8 -in client.key.pem -passout pass:secret -out client-encrypted.key.pem
openssl ec -in client.key.pem -aes128 -passout pass:secret -out client-old-encrypted.key.pem 2>/dev/null
ec client-p384 P-384; issue client-p384 client ca "$client"
ec client-p521 P-521; issue client-p521 client ca "$client"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out client-rsa.key.pem 2>/dev/null; issue client-rsa client ca "$client"
openssl rsa -in client-rsa.key.pem -traditional -out client-rsa1.key.pem 2>/dev/null
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out client-rsa1024.key.pem 2>/dev/null; issue client-rsa1024 client ca "$client"
openssl genpkey -algorithm ED25519 -out client-ed25519.key.pem; issue client-ed25519 client ca "$client"
ec client-v1 P-256; issue client-v1 client ca ''
ec client-expired P-256; issue_between client-expired client ca "$client" 20200101000000Z 20210101000000Z

# Nothing more is issued by these.
rm -f ca.key.pem other-ca.key.pem ca-v1.key.pem between.key.pem

package kubelet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/distribution/reference"
)

// normalise spells a reference out in full: registry, repository and tag. A
// reference that cannot be read comes back as it is.
func normalise(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.TagNameOnly(named).String()
}

// invalidReference says why the kubelet would refuse the reference before any
// pull; it is empty for a good one.
func invalidReference(image string) string {
	if _, err := reference.ParseNormalizedNamed(image); err != nil {
		return fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: %v", image, image, err)
	}
	return ""
}

// imageID is what a runtime reports for a pulled image: the repository and a
// digest. The digest of the reference stands in for the manifest's, so one tag
// has the same digest on every node and in every run.
func imageID(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return ""
	}
	if digested, ok := named.(reference.Digested); ok {
		return named.Name() + "@" + digested.Digest().String()
	}
	return named.Name() + "@sha256:" + hexDigest(normalise(image))
}

// imageSize is a made-up but stable size between 1 and 256 MiB.
func imageSize(image string) int {
	sum := sha256.Sum256([]byte(normalise(image)))
	return (1+int(sum[0]))<<20 + int(sum[1])<<8
}

func hexDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

package nodes

import (
	"crypto/sha256"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// images fills a node's list: two names each, by digest and by tag, as the
// kubelet reports an image that was pulled by its tag. All nodes hold the same.
func images(count int) []corev1.ContainerImage {
	list := make([]corev1.ContainerImage, 0, count)
	for k := 1; k <= count; k++ {
		repository := fmt.Sprintf("registry.example.com/team-%d/service-%03d", (k-1)%7+1, k)
		digest := sha256.Sum256([]byte(repository))
		list = append(list, corev1.ContainerImage{
			Names: []string{
				fmt.Sprintf("%s@sha256:%x", repository, digest),
				fmt.Sprintf("%s:1.%d.0", repository, k%30),
			},
			// Largest first, as the kubelet sorts them.
			SizeBytes: int64(count-k+1)*7_340_032 + int64(digest[0]),
		})
	}
	return list
}

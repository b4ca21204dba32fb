package dashboard

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed page
var page embed.FS

// files serves the files of the page. uPlot (MIT) draws its axes; nothing is loaded from anywhere else.
func files() http.Handler {
	root, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the files are embedded
	}
	return http.FileServerFS(root)
}

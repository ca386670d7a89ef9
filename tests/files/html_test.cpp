// What goes into a page.
#include "engine/files/html.h"

#include <gtest/gtest.h>

namespace melflow::files {
namespace {

TEST(Html, EscapesMarkupAndReplacesWhatIsNoUtf8) {
  EXPECT_EQ(html_escaped("<a href=\"x\">&</a>"), "&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;");
  EXPECT_EQ(html_escaped("\xc3\xbc\xff.wav"), "\xc3\xbc\xef\xbf\xbd.wav");
}

}  // namespace
}  // namespace melflow::files

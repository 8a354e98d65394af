// The port's settings, but for one: a path of 4096 bytes on the stack for every level of imports
// would fill the stack of a 32-bit process, and no board has that.
#include <mpconfigport.h>
#undef MICROPY_ALLOC_PATH_MAX
#define MICROPY_ALLOC_PATH_MAX (512)

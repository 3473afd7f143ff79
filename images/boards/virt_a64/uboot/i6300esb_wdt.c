// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Intel 6300ESB watchdog as QEMU's "-device i6300esb" offers it.
 *
 * The bootloader arms it so that a kernel which never reaches its own driver
 * is reset, as the bootloaders of fielded boards do.  Two stages count down
 * one after the other; the second one pulls the reset line, so each gets half
 * of the time.  Register names follow the 6300ESB data sheet.
 */

#include <common.h>
#include <dm.h>
#include <pci.h>
#include <wdt.h>
#include <asm/io.h>

#define ESB_CONFIG	0x60	/* configuration space, 16 bit */
#define ESB_LOCK	0x68	/* configuration space, 8 bit */
#define ESB_TIMER1	0x00
#define ESB_TIMER2	0x04
#define ESB_RELOAD	0x0c

#define LOCK_ENABLE	BIT(1)
#define CONFIG_NO_IRQ	0x0003
#define RELOAD_KICK	BIT(8)
#define CLOCK_HZ	1007	/* 33 MHz divided by 2^15 */

struct i6300esb_priv {
	void __iomem *base;
};

static void i6300esb_unlock(struct i6300esb_priv *priv)
{
	writew(0x80, priv->base + ESB_RELOAD);
	writew(0x86, priv->base + ESB_RELOAD);
}

static int i6300esb_reset(struct udevice *dev)
{
	struct i6300esb_priv *priv = dev_get_priv(dev);

	i6300esb_unlock(priv);
	writew(RELOAD_KICK, priv->base + ESB_RELOAD);
	return 0;
}

static int i6300esb_start(struct udevice *dev, u64 timeout_ms, ulong flags)
{
	struct i6300esb_priv *priv = dev_get_priv(dev);
	u32 half = (u32)timeout_ms / 2 * CLOCK_HZ / 1000;

	dm_pci_write_config16(dev, ESB_CONFIG, CONFIG_NO_IRQ);
	i6300esb_unlock(priv);
	writel(half, priv->base + ESB_TIMER1);
	i6300esb_unlock(priv);
	writel(half, priv->base + ESB_TIMER2);
	i6300esb_reset(dev);
	dm_pci_write_config8(dev, ESB_LOCK, LOCK_ENABLE);
	return 0;
}

static int i6300esb_stop(struct udevice *dev)
{
	i6300esb_reset(dev);
	dm_pci_write_config8(dev, ESB_LOCK, 0);
	return 0;
}

static int i6300esb_probe(struct udevice *dev)
{
	struct i6300esb_priv *priv = dev_get_priv(dev);

	dm_pci_clrset_config16(dev, PCI_COMMAND, 0, PCI_COMMAND_MEMORY);
	priv->base = dm_pci_map_bar(dev, PCI_BASE_ADDRESS_0, 0, 0,
				    PCI_REGION_TYPE, PCI_REGION_MEM);
	return priv->base ? 0 : -ENODEV;
}

static const struct wdt_ops i6300esb_ops = {
	.start = i6300esb_start,
	.stop = i6300esb_stop,
	.reset = i6300esb_reset,
};

U_BOOT_DRIVER(i6300esb_wdt) = {
	.name = "i6300esb_wdt",
	.id = UCLASS_WDT,
	.ops = &i6300esb_ops,
	.probe = i6300esb_probe,
	.priv_auto = sizeof(struct i6300esb_priv),
};

static struct pci_device_id i6300esb_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_INTEL, 0x25ab) },
	{}
};

U_BOOT_PCI_DEVICE(i6300esb_wdt, i6300esb_ids);
